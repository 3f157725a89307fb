#include "edgedet/letterbox.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "dispatch.h"
#include "edgedet/buffer.h"
#include "kernels/letterbox_kernels.h"

namespace edgedet {
namespace {

using kernels::ColumnTap;

// Source columns per resized column beyond which gathering costs less than blending whole rows.
constexpr int64_t kGatherRatio = 6;

struct Tap {
  int64_t low;
  int64_t high;
  float weight;
};

Tap TapAt(int64_t index, double ratio, int64_t side) {
  const double position = (static_cast<double>(index) + 0.5) / ratio - 0.5;
  const double clamped = std::min(std::max(position, 0.0), static_cast<double>(side - 1));
  const int64_t low = static_cast<int64_t>(clamped);
  return {low, std::min(low + 1, side - 1), static_cast<float>(clamped - static_cast<double>(low))};
}

int64_t ResizedSide(int64_t side, double ratio, int64_t limit) {
  const auto rounded = static_cast<int64_t>(std::floor(static_cast<double>(side) * ratio + 0.5));
  return std::min(std::max(rounded, int64_t{1}), limit);
}

struct Range {
  int32_t low;
  int32_t high;
};

Range RangeOf(ElementType type) {
  return type == ElementType::kInt8 ? Range{-128, 127} : Range{0, 255};
}

bool Valid(const ImageView& image, const LetterboxOptions& options) {
  const auto within = [](int64_t value, int64_t limit) { return value >= 1 && value <= limit; };
  if (image.data == nullptr || !within(image.height, kMaxImageSide) ||
      !within(image.width, kMaxImageSide) || !within(options.height, kMaxTensorSide) ||
      !within(options.width, kMaxTensorSide) || options.type == ElementType::kInt16) {
    return false;
  }
  for (int channel = 0; channel < 3; ++channel) {
    if (!std::isfinite(options.mean[channel]) || !(options.std[channel] > 0.0f)) return false;
  }
  if (options.type == ElementType::kFloat32) return true;
  const Range range = RangeOf(options.type);
  return options.scale > 0.0 && std::isfinite(options.scale) && options.zero_point >= range.low &&
         options.zero_point <= range.high;
}

// Copies the two columns of every tap next to each other: the way in for pixels that are not
// packed RGB, and for rows so wide that most of their columns go unused.
void GatherColumns(const uint8_t* row, const ImageView& image, const Buffer<Tap>& taps,
                   uint8_t* packed) {
  // Locals, because bytes may alias anything and would have the fields read again at each store.
  const ptrdiff_t column = image.column_stride;
  const ptrdiff_t channel = image.channel_stride;
  const Tap* tap = taps.data();
  const Tap* const end = tap + taps.size();
  for (; tap != end; ++tap, packed += 6) {
    const uint8_t* left = row + tap->low * column;
    const uint8_t* right = row + tap->high * column;
    packed[0] = left[0];
    packed[1] = left[channel];
    packed[2] = left[2 * channel];
    packed[3] = right[0];
    packed[4] = right[channel];
    packed[5] = right[2 * channel];
  }
}

// One element per position of an output row, so that the kernels need not know of channels.
struct RowConstants {
  Buffer<float> mean;
  Buffer<float> gain;

  bool Fill(const LetterboxOptions& options, size_t columns) {
    if (!mean.resize(3 * columns) || !gain.resize(3 * columns)) return false;
    const bool quantized = options.type != ElementType::kFloat32;
    for (size_t channel = 0; channel < 3; ++channel) {
      const double divisor =
          static_cast<double>(options.std[channel]) * (quantized ? options.scale : 1.0);
      const float factor = static_cast<float>(1.0 / divisor);
      if (!std::isfinite(factor)) return false;
      for (size_t x = 0; x < columns; ++x) {
        mean[3 * x + channel] = options.mean[channel];
        gain[3 * x + channel] = factor;
      }
    }
    return true;
  }
};

void StoreRow(const float* values, const RowConstants& constants, const LetterboxOptions&,
              size_t count, float* row) {
  ActiveKernels().letterbox->normalize(values, constants.mean.data(), constants.gain.data(), count,
                                       row);
}

template <typename T>
void StoreRow(const float* values, const RowConstants& constants, const LetterboxOptions& options,
              size_t count, T* row) {
  const Range range = RangeOf(options.type);
  const kernels::LetterboxKernels& kernel = *ActiveKernels().letterbox;
  const auto low = static_cast<float>(range.low - options.zero_point);
  const auto high = static_cast<float>(range.high - options.zero_point);
  const float *mean = constants.mean.data(), *gain = constants.gain.data();
  if constexpr (std::is_same_v<T, int8_t>) {
    kernel.quantize_i8(values, mean, gain, low, high, options.zero_point, count, row);
  } else {
    kernel.quantize_u8(values, mean, gain, low, high, options.zero_point, count, row);
  }
}

template <typename T>
Status Run(const ImageView& image, const LetterboxOptions& options, T padding, T* tensor,
           double ratio) {
  const auto rows = ResizedSide(image.height, ratio, options.height);
  const auto columns = static_cast<size_t>(ResizedSide(image.width, ratio, options.width));
  const bool packed = image.column_stride == 3 && image.channel_stride == 1 &&
                      image.width <= kGatherRatio * static_cast<int64_t>(columns);
  const size_t row_elements = 3 * (packed ? static_cast<size_t>(image.width) : 2 * columns);

  Buffer<Tap> taps;
  Buffer<ColumnTap> column_taps;
  Buffer<uint8_t> gathered;
  Buffer<float> blended_rows;
  Buffer<float> blended;
  RowConstants constants;
  if (!taps.resize(columns) || !column_taps.resize(columns) ||
      !gathered.resize(packed ? 0 : 2 * row_elements) || !blended_rows.resize(row_elements + 1) ||
      !blended.resize(3 * columns + 1) || !constants.Fill(options, columns)) {
    return Status::kOutOfMemory;
  }
  for (size_t x = 0; x < columns; ++x) {
    taps[x] = TapAt(static_cast<int64_t>(x), ratio, image.width);
    const auto at = static_cast<int32_t>(x);
    column_taps[x] = packed ? ColumnTap{static_cast<int32_t>(3 * taps[x].low),
                                        static_cast<int32_t>(3 * taps[x].high), taps[x].weight}
                            : ColumnTap{6 * at, 6 * at + 3, taps[x].weight};
  }
  blended_rows[row_elements] = 0.0f;

  const kernels::LetterboxKernels& kernel = *ActiveKernels().letterbox;
  const auto width = static_cast<size_t>(options.width);
  for (int64_t y = 0; y < rows; ++y) {
    const Tap tap = TapAt(y, ratio, image.height);
    const uint8_t* top = image.data + tap.low * image.row_stride;
    const uint8_t* bottom = image.data + tap.high * image.row_stride;
    if (!packed) {
      GatherColumns(top, image, taps, gathered.data());
      GatherColumns(bottom, image, taps, gathered.data() + row_elements);
      top = gathered.data();
      bottom = gathered.data() + row_elements;
    }
    kernel.blend_rows(top, bottom, tap.weight, row_elements, blended_rows.data());
    kernel.blend_columns(blended_rows.data(), column_taps.data(), columns, blended.data());
    T* row = tensor + static_cast<size_t>(y) * width * 3;
    StoreRow(blended.data(), constants, options, 3 * columns, row);
    std::fill(row + 3 * columns, row + 3 * width, padding);
  }
  std::fill(tensor + static_cast<size_t>(rows) * width * 3,
            tensor + static_cast<size_t>(options.height) * width * 3, padding);
  return Status::kOk;
}

}  // namespace

Status Letterbox(const ImageView& image, const LetterboxOptions& options, void* tensor,
                 double* ratio) {
  if (tensor == nullptr || ratio == nullptr || !Valid(image, options)) {
    return Status::kInvalidArgument;
  }
  *ratio = std::min(static_cast<double>(options.height) / static_cast<double>(image.height),
                    static_cast<double>(options.width) / static_cast<double>(image.width));
  switch (options.type) {
    case ElementType::kFloat32:
      return Run(image, options, 0.0f, static_cast<float*>(tensor), *ratio);
    case ElementType::kInt8:
      return Run(image, options, static_cast<int8_t>(options.zero_point),
                 static_cast<int8_t*>(tensor), *ratio);
    case ElementType::kUint8:
      return Run(image, options, static_cast<uint8_t>(options.zero_point),
                 static_cast<uint8_t*>(tensor), *ratio);
    case ElementType::kInt16:
      break;
  }
  return Status::kInvalidArgument;
}

}  // namespace edgedet
