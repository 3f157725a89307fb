#include "edgedet/letterbox.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "dispatch.h"
#include "edgedet/buffer.h"
#include "kernels/letterbox_kernels.h"
#include "letterbox_rows.h"

namespace edgedet {
namespace {

using kernels::ColumnTaps;
using kernels::kColumnBlock;
using kernels::Normalization;

// Floats before and after a blended row. A tap at the edge has weight 0 and no neighbour there.
constexpr size_t kMargin = 8;

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

bool Within(int64_t value, int64_t low, int64_t high) { return value >= low && value <= high; }

bool Valid(const ImageView& image) {
  if (!Within(image.height, 1, kMaxImageSide) || !Within(image.width, 1, kMaxImageSide)) {
    return false;
  }
  int planes = 0;
  switch (image.format) {
    case ColorFormat::kGray:
      planes = 1;
      break;
    case ColorFormat::kRgb:
    case ColorFormat::kYuv420:
    case ColorFormat::kYuv420Limited:
      planes = 3;
      break;
  }
  for (int i = 0; i < planes; ++i) {
    const Plane& plane = image.planes[i];
    if (plane.data == nullptr || !Within(plane.row_stride, -kMaxStride, kMaxStride) ||
        !Within(plane.column_stride, -kMaxStride, kMaxStride)) {
      return false;
    }
  }
  return planes > 0;
}

bool Valid(const LetterboxOptions& options) {
  if (!Within(options.height, 1, kMaxTensorSide) || !Within(options.width, 1, kMaxTensorSide) ||
      !Within(options.rotation, 0, 270) || options.rotation % 90 != 0) {
    return false;
  }
  switch (options.type) {
    case ElementType::kFloat32:
      return true;
    case ElementType::kInt8:
    case ElementType::kUint8: {
      const Range range = RangeOf(options.type);
      return options.scale > 0.0 && std::isfinite(options.scale) &&
             Within(options.zero_point, range.low, range.high);
    }
    case ElementType::kInt16:
      break;
  }
  return false;
}

// False unless every mean and gain is finite and every divisor positive.
bool Fill(const LetterboxOptions& options, Normalization* normalization) {
  const bool quantized = options.type != ElementType::kFloat32;
  *normalization = {};
  for (int channel = 0; channel < 3; ++channel) {
    if (!std::isfinite(options.mean[channel]) || !(options.std[channel] > 0.0f)) return false;
    const double divisor =
        static_cast<double>(options.std[channel]) * (quantized ? options.scale : 1.0);
    normalization->mean[channel] = options.mean[channel];
    normalization->gain[channel] = static_cast<float>(1.0 / divisor);
    if (!std::isfinite(normalization->gain[channel])) return false;
  }
  if (quantized) {
    const Range range = RangeOf(options.type);
    normalization->low = static_cast<float>(range.low - options.zero_point);
    normalization->high = static_cast<float>(range.high - options.zero_point);
    normalization->zero_point = options.zero_point;
  }
  return true;
}

template <typename T>
auto FinishOf(const kernels::LetterboxKernels& kernels, kernels::PixelOrder order) {
  if constexpr (std::is_same_v<T, float>) {
    return kernels.finish_f32[order];
  } else if constexpr (std::is_same_v<T, int8_t>) {
    return kernels.finish_i8[order];
  } else {
    return kernels.finish_u8[order];
  }
}

template <typename T>
Status Run(const ImageView& image, const Orientation& upright, const LetterboxOptions& options,
           const Normalization& normalization, double ratio, T padding, T* tensor) {
  const int64_t rows = ResizedSide(upright.height, ratio, options.height);
  const auto columns = static_cast<size_t>(ResizedSide(upright.width, ratio, options.width));
  const size_t room = (columns + kColumnBlock - 1) / kColumnBlock * kColumnBlock;

  Buffer<Tap> taps;
  Buffer<int32_t> left;
  Buffer<float> weights;
  Buffer<float> blended;
  LetterboxRows source;
  if (!taps.resize(columns) || !left.resize(room) || !weights.resize(4 * room)) {
    return Status::kOutOfMemory;
  }
  for (size_t x = 0; x < columns; ++x) {
    taps[x] = TapAt(static_cast<int64_t>(x), ratio, upright.width);
  }
  if (!source.Init(image, upright, taps) || !blended.resize(source.size() + 2 * kMargin)) {
    return Status::kOutOfMemory;
  }
  for (size_t x = 0; x < room; ++x) {
    left[x] = x < columns ? static_cast<int32_t>(source.LowOffset(x, taps[x])) : 0;
    std::fill_n(weights.data() + 4 * x, 4, x < columns ? taps[x].weight : 0.0f);
  }
  std::fill(blended.begin(), blended.end(), 0.0f);

  const kernels::LetterboxKernels& kernels = *ActiveKernels().letterbox;
  const auto finish = FinishOf<T>(kernels, source.order());
  const ColumnTaps column_taps = {left.data(), weights.data(), source.high_step(), columns};
  float* const blended_row = blended.data() + kMargin;
  const auto width = static_cast<size_t>(options.width);
  for (int64_t y = 0; y < rows; ++y) {
    const Tap tap = TapAt(y, ratio, upright.height);
    const uint8_t* top = source.Row(tap.low);
    const uint8_t* bottom = source.Row(tap.high);
    kernels.blend_rows(top, bottom, tap.weight, source.size(), blended_row);
    T* row = tensor + static_cast<size_t>(y) * width * 3;
    finish(blended_row, column_taps, normalization, row);
    std::fill(row + 3 * columns, row + 3 * width, padding);
  }
  std::fill(tensor + static_cast<size_t>(rows) * width * 3,
            tensor + static_cast<size_t>(options.height) * width * 3, padding);
  return Status::kOk;
}

}  // namespace

Status Letterbox(const ImageView& image, const LetterboxOptions& options, void* tensor,
                 double* ratio) {
  Normalization normalization;
  if (tensor == nullptr || ratio == nullptr || !Valid(image) || !Valid(options) ||
      !Fill(options, &normalization)) {
    return Status::kInvalidArgument;
  }
  const Orientation upright = OrientationOf(image, options.rotation, options.mirror);
  *ratio = std::min(static_cast<double>(options.height) / static_cast<double>(upright.height),
                    static_cast<double>(options.width) / static_cast<double>(upright.width));
  switch (options.type) {
    case ElementType::kFloat32:
      return Run(image, upright, options, normalization, *ratio, 0.0f, static_cast<float*>(tensor));
    case ElementType::kInt8:
      return Run(image, upright, options, normalization, *ratio,
                 static_cast<int8_t>(options.zero_point), static_cast<int8_t*>(tensor));
    case ElementType::kUint8:
      return Run(image, upright, options, normalization, *ratio,
                 static_cast<uint8_t>(options.zero_point), static_cast<uint8_t*>(tensor));
    case ElementType::kInt16:
      break;
  }
  return Status::kInvalidArgument;
}

}  // namespace edgedet
