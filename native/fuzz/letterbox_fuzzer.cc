#include <algorithm>
#include <cmath>
#include <vector>

#include "edgedet/letterbox.h"
#include "expect.h"
#include "input.h"

namespace {

using namespace edgedet;

constexpr int64_t kMaxSide = 70;

// The strides of a plane, and the first and last byte that it has beside its first sample.
struct PlaneShape {
  ptrdiff_t row_stride;
  ptrdiff_t column_stride;
  ptrdiff_t low;
  ptrdiff_t high;
};

// Of packed samples, of samples with gaps, mirrored, repeated and overlapping.
ptrdiff_t DrawStride(FuzzedDataProvider& bytes, ptrdiff_t packed) {
  switch (bytes.ConsumeIntegralInRange<int>(0, 3)) {
    case 0:
      return packed;
    case 1:
      return -packed;
    case 2:
      return bytes.ConsumeIntegralInRange<ptrdiff_t>(-5, 5);
    default:
      return packed + bytes.ConsumeIntegralInRange<ptrdiff_t>(-2, 7);
  }
}

PlaneShape DrawShape(FuzzedDataProvider& bytes, int64_t rows, int64_t columns, bool interleaved) {
  const ptrdiff_t pixel = interleaved ? bytes.ConsumeIntegralInRange<ptrdiff_t>(3, 4) : 1;
  PlaneShape shape = {DrawStride(bytes, pixel * columns), DrawStride(bytes, pixel), 0, 0};
  const auto reach = [&](int64_t count, ptrdiff_t stride) {
    const ptrdiff_t last = count > 1 ? (count - 1) * stride : 0;
    (last < 0 ? shape.low : shape.high) += last;
  };
  reach(rows, shape.row_stride);
  reach(columns, shape.column_stride);
  return shape;
}

// Whether rows and columns beyond the resized image hold the element that stands for 0.
template <typename T>
bool Padded(const T* tensor, const ImageView& image, const LetterboxOptions& options, double ratio,
            T padding) {
  const auto resized = [&](int64_t side) {
    return std::fmax(std::floor(static_cast<double>(side) * ratio + 0.5), 1.0);
  };
  const bool turned = options.rotation % 180 != 0;
  const double rows = resized(turned ? image.width : image.height);
  const double columns = resized(turned ? image.height : image.width);
  for (int64_t y = 0; y < options.height; ++y) {
    for (int64_t x = 0; x < options.width; ++x) {
      if (static_cast<double>(y) < rows && static_cast<double>(x) < columns) continue;
      const T* pixel = tensor + 3 * (y * options.width + x);
      if (pixel[0] != padding || pixel[1] != padding || pixel[2] != padding) return false;
    }
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider bytes(data, size);
  LetterboxOptions options = {};
  options.height = bytes.ConsumeIntegralInRange<int64_t>(-1, kMaxSide);
  options.width = bytes.ConsumeIntegralInRange<int64_t>(-1, kMaxSide);
  for (int channel = 0; channel < 3; ++channel) {
    options.mean[channel] = bytes.ConsumeBool() ? 127.5f : fuzz::DrawFloat(bytes);
    options.std[channel] = bytes.ConsumeBool() ? 58.0f : fuzz::DrawFloat(bytes);
  }
  options.type = fuzz::DrawType(bytes);
  options.scale = bytes.ConsumeBool() ? 0.02 : static_cast<double>(fuzz::DrawFloat(bytes));
  options.zero_point =
      bytes.ConsumeBool() ? bytes.ConsumeIntegral<int8_t>() : bytes.ConsumeIntegral<int32_t>();

  options.rotation = bytes.ConsumeIntegralInRange<int32_t>(-1, 4) * 90;
  options.mirror = bytes.ConsumeBool();

  constexpr ColorFormat kFormats[] = {ColorFormat::kRgb, ColorFormat::kGray, ColorFormat::kYuv420,
                                      ColorFormat::kYuv420Limited};
  ImageView image = {};
  image.format = kFormats[bytes.ConsumeIntegralInRange<size_t>(0, 3)];
  image.height = bytes.ConsumeIntegralInRange<int64_t>(-1, kMaxSide);
  image.width = bytes.ConsumeIntegralInRange<int64_t>(-1, kMaxSide * 8);
  const bool interleaved = image.format == ColorFormat::kRgb && bytes.ConsumeBool();
  const PlaneShape first = DrawShape(bytes, image.height, image.width, interleaved);
  PlaneShape shapes[3] = {first, first, first};
  if (!interleaved) {
    const bool halved = image.format != ColorFormat::kRgb;
    const int64_t rows = halved ? (image.height + 1) / 2 : image.height;
    const int64_t columns = halved ? (image.width + 1) / 2 : image.width;
    shapes[1] = DrawShape(bytes, rows, columns, false);
    shapes[2] = DrawShape(bytes, rows, columns, false);
  }
  const ptrdiff_t channels[3] = {bytes.ConsumeIntegralInRange<ptrdiff_t>(0, 3),
                                 bytes.ConsumeIntegralInRange<ptrdiff_t>(0, 3),
                                 bytes.ConsumeIntegralInRange<ptrdiff_t>(0, 3)};
  const std::vector<uint8_t> pattern = bytes.ConsumeRemainingBytes<uint8_t>();
  std::vector<fuzz::Elements> blocks;
  for (int i = 0; i < 3; ++i) {
    const PlaneShape& shape = shapes[i];
    ptrdiff_t offset = -shape.low;
    if (!interleaved || i == 0) {
      const ptrdiff_t reach = interleaved ? *std::max_element(channels, channels + 3) : 0;
      blocks.emplace_back(ElementType::kUint8,
                          static_cast<size_t>(shape.high - shape.low + reach + 1), pattern,
                          static_cast<size_t>(i), false);
    }
    if (interleaved) offset += channels[i];
    image.planes[i] = {static_cast<const uint8_t*>(blocks.back().data()) + offset, shape.row_stride,
                       shape.column_stride};
  }

  const int64_t elements =
      options.height > 0 && options.width > 0 ? options.height * options.width * 3 : 0;
  std::unique_ptr<uint8_t[]> tensor(
      new uint8_t[static_cast<size_t>(elements) * fuzz::SizeOf(options.type)]);
  double ratio = -1.0;
  if (Letterbox(image, options, tensor.get(), &ratio) != Status::kOk) return 0;
  EXPECT(ratio > 0.0);
  if (options.type == ElementType::kFloat32) {
    EXPECT(Padded(reinterpret_cast<const float*>(tensor.get()), image, options, ratio, 0.0f));
  } else if (options.type == ElementType::kInt8) {
    EXPECT(Padded(reinterpret_cast<const int8_t*>(tensor.get()), image, options, ratio,
                  static_cast<int8_t>(options.zero_point)));
  } else {
    EXPECT(Padded(tensor.get(), image, options, ratio, static_cast<uint8_t>(options.zero_point)));
  }
  return 0;
}
