#include "letterbox_rows.h"

#include <algorithm>
#include <cstring>

#include "dispatch.h"

namespace edgedet {
namespace {

using kernels::kColumnBlock;
using kernels::YuvToRgb;

// Source columns per resized column beyond which copying pairs costs less than blending all.
constexpr int64_t kInPlaceRatio = 6;

size_t RoundUp(size_t count) { return (count + kColumnBlock - 1) / kColumnBlock * kColumnBlock; }

// Calls copy(0), copy(1) ... in whole blocks, which compilers unroll.
template <typename Copy>
void ForColumns(size_t count, Copy copy) {
  for (size_t block = 0; block < count; block += kColumnBlock) {
    for (size_t i = 0; i < kColumnBlock; ++i) copy(block + i);
  }
}

// What holds of an image whose pixels are three or four bytes in a row of which the channels are
// the first three, or one byte.
struct Interleaving {
  bool valid;
  kernels::PixelOrder order;
  const uint8_t* data;  // of the top left pixel
};

Interleaving InterleavingOf(const ImageView& image) {
  const Plane& first = image.planes[0];
  if (image.format == ColorFormat::kGray) return {true, kernels::kGrayPixels, first.data};
  if (image.format != ColorFormat::kRgb) return {};
  for (const Plane& plane : image.planes) {
    if (plane.row_stride != first.row_stride || plane.column_stride != first.column_stride) {
      return {};
    }
  }
  const auto at = [&](int channel) {
    return reinterpret_cast<uintptr_t>(image.planes[channel].data);
  };
  if (at(1) == at(0) + 1 && at(2) == at(0) + 2) return {true, kernels::kRgbPixels, first.data};
  if (at(1) == at(2) + 1 && at(0) == at(2) + 2) {
    return {true, kernels::kBgrPixels, image.planes[2].data};
  }
  return {};
}

YuvToRgb FactorsOf(ColorFormat format) {
  const bool limited = format == ColorFormat::kYuv420Limited;
  const double chroma = limited ? 255.0 / 224.0 : 1.0;
  return {limited ? 16.0f : 0.0f,
          static_cast<float>(limited ? 255.0 / 219.0 : 1.0),
          static_cast<float>(1.402 * chroma),
          static_cast<float>(0.114 * 1.772 / 0.587 * chroma),
          static_cast<float>(0.299 * 1.402 / 0.587 * chroma),
          static_cast<float>(1.772 * chroma)};
}

}  // namespace

Orientation OrientationOf(const ImageView& image, int32_t rotation, bool mirror) {
  const bool transposed = rotation == 90 || rotation == 270;
  const bool rows_reversed = rotation == 180 || rotation == 270;
  const bool columns_reversed = (rotation == 90 || rotation == 180) != mirror;
  return {transposed, rows_reversed, columns_reversed, transposed ? image.width : image.height,
          transposed ? image.height : image.width};
}

bool LetterboxRows::Init(const ImageView& image, const Orientation& orientation,
                         const Buffer<Tap>& columns) {
  rows_reversed_ = orientation.rows_reversed;
  height_ = orientation.height;
  return InitInPlace(image, orientation, columns.size()) || InitCopied(image, orientation, columns);
}

bool LetterboxRows::InitInPlace(const ImageView& image, const Orientation& orientation,
                                size_t columns) {
  const Interleaving interleaving = InterleavingOf(image);
  if (!interleaving.valid || orientation.transposed ||
      image.width > kInPlaceRatio * static_cast<int64_t>(columns)) {
    return false;
  }
  const ptrdiff_t step = image.planes[0].column_stride;
  const ptrdiff_t pixel = step < 0 ? -step : step;
  const ptrdiff_t channels = interleaving.order == kernels::kGrayPixels ? 1 : 3;
  if (pixel != channels && !(pixel == 4 && channels == 3)) return false;
  source_ = Source::kInPlace;
  order_ = interleaving.order;
  // Without what follows the last pixel's channels: it may lie outside the image's memory.
  size_ = static_cast<size_t>(pixel * (image.width - 1) + channels);
  in_place_ = interleaving.data + (step < 0 ? step * (image.width - 1) : 0);
  row_stride_ = image.planes[0].row_stride;
  pixel_ = orientation.columns_reversed ? -step : step;
  first_ = pixel_ < 0 ? pixel * (image.width - 1) : 0;
  high_step_ = pixel_;
  return true;
}

bool LetterboxRows::InitCopied(const ImageView& image, const Orientation& orientation,
                               const Buffer<Tap>& columns) {
  const Interleaving interleaving = InterleavingOf(image);
  const bool gray = image.format == ColorFormat::kGray;
  const bool yuv =
      image.format == ColorFormat::kYuv420 || image.format == ColorFormat::kYuv420Limited;
  source_ = yuv                  ? Source::kYuv
            : gray               ? Source::kGray
            : interleaving.valid ? Source::kPixels
                                 : Source::kChannels;
  order_ = source_ == Source::kPixels || gray ? interleaving.order : kernels::kRgbPixels;
  paired_ = orientation.width > 2 * static_cast<int64_t>(columns.size());
  needed_ = paired_ ? 2 * columns.size() : static_cast<size_t>(orientation.width);
  pixel_ = gray ? 1 : 4;
  high_step_ = pixel_;
  size_ = needed_ * static_cast<size_t>(pixel_);
  const size_t room = RoundUp(needed_);

  const int count = gray || source_ == Source::kPixels ? 1 : 3;
  for (int i = 0; i < count; ++i) {
    const Plane& plane = image.planes[i];
    Channel& channel = channels_[i];
    channel.data = source_ == Source::kPixels ? interleaving.data : plane.data;
    channel.row_stride = orientation.transposed ? plane.column_stride : plane.row_stride;
    channel.shift = yuv && i > 0 ? 1 : 0;
    const ptrdiff_t stride = orientation.transposed ? plane.row_stride : plane.column_stride;
    if (!channel.columns.resize(room)) return false;
    std::fill(channel.columns.begin(), channel.columns.end(), ptrdiff_t{0});
    for (size_t k = 0; k < needed_; ++k) {
      const int64_t upright = !paired_     ? static_cast<int64_t>(k)
                              : k % 2 == 0 ? columns[k / 2].low
                                           : columns[k / 2].high;
      const int64_t own = orientation.columns_reversed ? orientation.width - 1 - upright : upright;
      channel.columns[k] = (own >> channel.shift) * stride;
    }
  }
  for (Buffer<uint8_t>& copy : copies_) {
    if (!copy.resize(room * static_cast<size_t>(pixel_))) return false;
    std::fill(copy.begin(), copy.end(), uint8_t{0});
  }
  if (yuv) {
    yuv_ = FactorsOf(image.format);
    if (!samples_.resize(3 * room)) return false;
  }
  const Plane& plane = image.planes[0];
  last_column_ = *std::max_element(channels_[0].columns.begin(), channels_[0].columns.end());
  last_word_ = channels_[0].data + std::max(plane.row_stride * (image.height - 1), ptrdiff_t{0}) +
               std::max(plane.column_stride * (image.width - 1), ptrdiff_t{0}) - 1;
  return true;
}

ptrdiff_t LetterboxRows::LowOffset(size_t column, const Tap& tap) const {
  return paired_ ? 2 * pixel_ * static_cast<ptrdiff_t>(column) : first_ + pixel_ * tap.low;
}

const uint8_t* LetterboxRows::Row(int64_t y) {
  const int64_t own = rows_reversed_ ? height_ - 1 - y : y;
  if (source_ == Source::kInPlace) return in_place_ + own * row_stride_;
  // Neighbours differ in their lowest bit.
  const size_t slot = static_cast<size_t>(y & 1);
  uint8_t* row = copies_[slot].data();
  if (copied_[slot] == y) return row;
  copied_[slot] = y;
  switch (source_) {
    case Source::kPixels:
      CopyPixels(own, row);
      break;
    case Source::kChannels:
      CopyChannels(own, row);
      break;
    case Source::kGray:
      CopyGray(own, row);
      break;
    case Source::kYuv:
      CopyYuv(own, row);
      break;
    case Source::kInPlace:
      break;
  }
  return row;
}

const uint8_t* LetterboxRows::ChannelRow(const Channel& channel, int64_t y) const {
  return channel.data + (y >> channel.shift) * channel.row_stride;
}

void LetterboxRows::CopyPixels(int64_t y, uint8_t* row) const {
  const uint8_t* from = ChannelRow(channels_[0], y);
  const ptrdiff_t* const offsets = channels_[0].columns.data();
  if (from + last_column_ <= last_word_) {
    ForColumns(needed_, [=](size_t i) { std::memcpy(row + 4 * i, from + offsets[i], 4); });
  } else {
    ForColumns(needed_, [=](size_t i) { std::memcpy(row + 4 * i, from + offsets[i], 3); });
  }
}

void LetterboxRows::CopyChannels(int64_t y, uint8_t* row) const {
  for (size_t c = 0; c < 3; ++c) {
    const uint8_t* from = ChannelRow(channels_[c], y);
    const ptrdiff_t* const offsets = channels_[c].columns.data();
    ForColumns(needed_, [=](size_t i) { row[4 * i + c] = from[offsets[i]]; });
  }
}

void LetterboxRows::CopyGray(int64_t y, uint8_t* row) const {
  const uint8_t* from = ChannelRow(channels_[0], y);
  const ptrdiff_t* const offsets = channels_[0].columns.data();
  ForColumns(needed_, [=](size_t i) { row[i] = from[offsets[i]]; });
}

void LetterboxRows::CopyYuv(int64_t y, uint8_t* row) {
  const size_t room = RoundUp(needed_);
  const int64_t chroma_row = y >> channels_[1].shift;
  for (size_t c = 0; c < (chroma_row == chroma_row_ ? 1 : 3); ++c) {
    const uint8_t* from = ChannelRow(channels_[c], y);
    const ptrdiff_t* const offsets = channels_[c].columns.data();
    uint8_t* const samples = samples_.data() + c * room;
    ForColumns(needed_, [=](size_t i) { samples[i] = from[offsets[i]]; });
  }
  chroma_row_ = chroma_row;
  ActiveKernels().letterbox->yuv_to_rgb(samples_.data(), samples_.data() + room,
                                        samples_.data() + 2 * room, needed_, yuv_,
                                        reinterpret_cast<int32_t*>(row));
}

}  // namespace edgedet
