#include "edgedet/letterbox.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace edgedet {
namespace {

ImageView Packed(const std::vector<uint8_t>& pixels, int64_t height, int64_t width) {
  return PackedImage(pixels.data(), height, width, static_cast<ptrdiff_t>(3 * width),
                     PixelLayout::kRgb);
}

LetterboxOptions Options(int64_t height, int64_t width, ElementType type) {
  LetterboxOptions options = {};
  options.height = height;
  options.width = width;
  for (int channel = 0; channel < 3; ++channel) {
    options.mean[channel] = 127.5f;
    options.std[channel] = 127.5f;
  }
  options.type = type;
  options.scale = 1.0 / 127.5;
  return options;
}

// Pixels as they are, where the tensor has the image's size.
LetterboxOptions Unchanged(int64_t height, int64_t width) {
  LetterboxOptions options = Options(height, width, ElementType::kUint8);
  for (int channel = 0; channel < 3; ++channel) {
    options.mean[channel] = 0.0f;
    options.std[channel] = 1.0f;
  }
  options.scale = 1.0;
  return options;
}

std::vector<uint8_t> Fitted(const ImageView& image, const LetterboxOptions& options) {
  std::vector<uint8_t> tensor(static_cast<size_t>(options.height * options.width * 3));
  double ratio = 0.0;
  EXPECT_EQ(Letterbox(image, options, tensor.data(), &ratio), Status::kOk);
  return tensor;
}

TEST(Letterbox, SameSizeKeepsEveryPixel) {
  std::vector<uint8_t> pixels(5 * 7 * 3);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 37);
  const LetterboxOptions options = Unchanged(5, 7);
  std::vector<uint8_t> tensor(pixels.size());
  double ratio = 0.0;
  ASSERT_EQ(Letterbox(Packed(pixels, 5, 7), options, tensor.data(), &ratio), Status::kOk);
  EXPECT_EQ(ratio, 1.0);
  EXPECT_EQ(tensor, pixels);
}

TEST(Letterbox, DoublingBlendsWithHalfPixelCentres) {
  const std::vector<uint8_t> pixels = {0, 0, 0, 100, 100, 100};
  std::vector<float> tensor(2 * 4 * 3);
  double ratio = 0.0;
  LetterboxOptions options = Options(2, 4, ElementType::kFloat32);
  for (int channel = 0; channel < 3; ++channel) {
    options.mean[channel] = 0.0f;
    options.std[channel] = 1.0f;
  }
  ASSERT_EQ(Letterbox(Packed(pixels, 1, 2), options, tensor.data(), &ratio), Status::kOk);
  const float expected[4] = {0.0f, 25.0f, 75.0f, 100.0f};
  for (size_t i = 0; i < tensor.size(); ++i) EXPECT_EQ(tensor[i], expected[i / 3 % 4]) << i;
}

TEST(Letterbox, PadsRightAndBottomWithTheElementForZero) {
  const std::vector<uint8_t> white(4 * 2 * 3, 255);
  LetterboxOptions options = Options(4, 4, ElementType::kInt8);
  options.zero_point = -3;
  std::vector<int8_t> tensor(4 * 4 * 3);
  double ratio = 0.0;
  ASSERT_EQ(Letterbox(Packed(white, 4, 2), options, tensor.data(), &ratio), Status::kOk);
  EXPECT_EQ(ratio, 1.0);
  for (size_t i = 0; i < tensor.size(); ++i) EXPECT_EQ(tensor[i], i / 3 % 4 < 2 ? 125 : -3) << i;
}

TEST(Letterbox, SinglePixelFillsASquare) {
  const std::vector<uint8_t> pixel = {255, 0, 255};
  std::vector<float> tensor(8 * 8 * 3);
  double ratio = 0.0;
  ASSERT_EQ(
      Letterbox(Packed(pixel, 1, 1), Options(8, 8, ElementType::kFloat32), tensor.data(), &ratio),
      Status::kOk);
  EXPECT_EQ(ratio, 8.0);
  for (size_t i = 0; i < tensor.size(); ++i) EXPECT_NEAR(tensor[i], i % 3 == 1 ? -1 : 1, 1e-6);
}

TEST(Letterbox, ExtremeAspectKeepsAtLeastOneRowOrColumn) {
  struct Case {
    int64_t height, width;
  };
  for (const Case& size : {Case{20000, 10}, Case{10, 20000}, Case{1, 20000}}) {
    std::vector<uint8_t> pixels(static_cast<size_t>(size.height * size.width * 3), 255);
    std::vector<int8_t> tensor(256 * 256 * 3, 7);
    double ratio = 0.0;
    ASSERT_EQ(Letterbox(Packed(pixels, size.height, size.width),
                        Options(256, 256, ElementType::kInt8), tensor.data(), &ratio),
              Status::kOk);
    EXPECT_DOUBLE_EQ(ratio, 256.0 / 20000.0);
    const bool tall = size.height > size.width;
    for (size_t i = 0; i < tensor.size(); ++i) {
      const bool inside = tall ? i / 3 % 256 == 0 : i < 256 * 3;
      ASSERT_EQ(tensor[i], inside ? 127 : 0) << i;
    }
  }
}

TEST(Letterbox, RotatesClockwiseThenMirrors) {
  // The red channel of a 2 x 3 image:  1 2 3
  //                                    4 5 6
  std::vector<uint8_t> pixels(2 * 3 * 3, 0);
  for (size_t i = 0; i < 6; ++i) pixels[3 * i] = static_cast<uint8_t>(i + 1);
  struct Case {
    int32_t rotation;
    bool mirror;
    std::vector<int> reds;
  };
  const Case cases[] = {
      {0, false, {1, 2, 3, 4, 5, 6}},   {0, true, {3, 2, 1, 6, 5, 4}},
      {90, false, {4, 1, 5, 2, 6, 3}},  {90, true, {1, 4, 2, 5, 3, 6}},
      {180, false, {6, 5, 4, 3, 2, 1}}, {180, true, {4, 5, 6, 1, 2, 3}},
      {270, false, {3, 6, 2, 5, 1, 4}}, {270, true, {6, 3, 5, 2, 4, 1}},
  };
  for (const Case& c : cases) {
    const bool turned = c.rotation % 180 != 0;
    LetterboxOptions options = Unchanged(turned ? 3 : 2, turned ? 2 : 3);
    options.rotation = c.rotation;
    options.mirror = c.mirror;
    const std::vector<uint8_t> tensor = Fitted(Packed(pixels, 2, 3), options);
    for (size_t i = 0; i < 6; ++i) {
      EXPECT_EQ(tensor[3 * i], c.reds[i]) << c.rotation << " " << c.mirror << " " << i;
    }
  }
}

TEST(Letterbox, LayoutsNameTheSamePixels) {
  constexpr size_t kPixels = 5 * 7;
  std::vector<uint8_t> rgb, bgr, rgba, bgra, gray;
  for (size_t i = 0; i < kPixels; ++i) {
    const auto red = static_cast<uint8_t>(i * 37), green = static_cast<uint8_t>(i * 91),
               blue = static_cast<uint8_t>(i * 53), alpha = static_cast<uint8_t>(i * 17);
    rgb.insert(rgb.end(), {red, green, blue});
    bgr.insert(bgr.end(), {blue, green, red});
    rgba.insert(rgba.end(), {red, green, blue, alpha});
    bgra.insert(bgra.end(), {blue, green, red, alpha});
    gray.push_back(green);
  }
  // The last alpha is not the image's to read: a sanitizer sees whether it is.
  const auto row_bytes = [](size_t pixel) { return static_cast<ptrdiff_t>(7 * pixel); };
  rgba.pop_back();
  bgra.pop_back();
  rgba.shrink_to_fit();
  bgra.shrink_to_fit();
  for (const int32_t rotation : {0, 90}) {
    LetterboxOptions options = Unchanged(9, 9);
    options.rotation = rotation;
    const auto fitted = [&](const std::vector<uint8_t>& pixels, PixelLayout layout) {
      const ptrdiff_t row = row_bytes((pixels.size() + 1) / kPixels);
      return Fitted(PackedImage(pixels.data(), 5, 7, row, layout), options);
    };
    const std::vector<uint8_t> expected = fitted(rgb, PixelLayout::kRgb);
    EXPECT_EQ(fitted(bgr, PixelLayout::kBgr), expected);
    EXPECT_EQ(fitted(rgba, PixelLayout::kRgba), expected);
    EXPECT_EQ(fitted(bgra, PixelLayout::kBgra), expected);
    const std::vector<uint8_t> level = fitted(gray, PixelLayout::kGray);
    for (size_t i = 0; i < level.size(); ++i) ASSERT_EQ(level[i], expected[i / 3 * 3 + 1]) << i;
  }
}

// Black, white, grey and the primaries as JFIF encodes them.
TEST(Letterbox, YuvColoursAreThoseOfJfif) {
  struct Case {
    ColorFormat format;
    uint8_t y, u, v;
    std::vector<uint8_t> rgb;
  };
  const Case cases[] = {
      {ColorFormat::kYuv420, 0, 128, 128, {0, 0, 0}},
      {ColorFormat::kYuv420, 255, 128, 128, {255, 255, 255}},
      {ColorFormat::kYuv420, 77, 128, 128, {77, 77, 77}},
      {ColorFormat::kYuv420, 76, 85, 255, {254, 0, 0}},
      {ColorFormat::kYuv420, 150, 44, 21, {0, 255, 1}},
      {ColorFormat::kYuv420, 29, 255, 107, {0, 0, 254}},
      {ColorFormat::kYuv420Limited, 16, 128, 128, {0, 0, 0}},
      {ColorFormat::kYuv420Limited, 235, 128, 128, {255, 255, 255}},
      {ColorFormat::kYuv420Limited, 81, 90, 240, {254, 0, 0}},
      {ColorFormat::kYuv420Limited, 145, 54, 34, {0, 255, 1}},
      {ColorFormat::kYuv420Limited, 41, 240, 110, {0, 0, 255}},
  };
  for (const Case& c : cases) {
    const ImageView image = {c.format, 1, 1, {{&c.y, 1, 1}, {&c.u, 1, 1}, {&c.v, 1, 1}}};
    EXPECT_EQ(Fitted(image, Unchanged(1, 1)), c.rgb) << int{c.y};
  }
}

TEST(Letterbox, ChromaSamplesStandForTwoByTwoPixels) {
  constexpr int64_t kHeight = 5, kWidth = 7;
  const std::vector<uint8_t> luma(kHeight * kWidth, 100);
  std::vector<uint8_t> pairs(3 * 4 * 2);  // V and U alternately, as in NV21
  for (size_t i = 0; i < pairs.size(); ++i) pairs[i] = static_cast<uint8_t>(100 + 5 * (i / 2));
  const ImageView image = {ColorFormat::kYuv420,
                           kHeight,
                           kWidth,
                           {{luma.data(), kWidth, 1}, {&pairs[1], 8, 2}, {&pairs[0], 8, 2}}};
  const std::vector<uint8_t> tensor = Fitted(image, Unchanged(kHeight, kWidth));
  for (int64_t y = 0; y < kHeight; ++y) {
    for (int64_t x = 0; x < kWidth; ++x) {
      const double chroma = static_cast<double>(100 + 5 * (y / 2 * 4 + x / 2)) - 128.0;
      EXPECT_EQ(tensor[static_cast<size_t>(y * kWidth + x) * 3],
                static_cast<int>(std::lround(100.0 + 1.402 * chroma)))
          << y << " " << x;
    }
  }
}

TEST(Letterbox, RefusesWhatCannotBe) {
  const std::vector<uint8_t> pixels(12, 0);
  const ImageView image = Packed(pixels, 2, 2);
  const LetterboxOptions good = Options(4, 4, ElementType::kInt8);
  std::vector<int8_t> tensor(4 * 4 * 3);
  double ratio = 0.0;
  const auto refused = [&](const ImageView& view, const LetterboxOptions& options) {
    return Letterbox(view, options, tensor.data(), &ratio) == Status::kInvalidArgument;
  };
  EXPECT_FALSE(refused(image, good));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<LetterboxOptions> bad(13, good);
  bad[0].height = 0;
  bad[1].width = -1;
  bad[2].width = kMaxTensorSide + 1;
  bad[3].std[1] = 0.0f;
  bad[4].mean[2] = nan;
  bad[5].scale = 0.0;
  bad[6].zero_point = 128;
  bad[7].type = ElementType::kInt16;
  bad[8].std[0] = nan;
  bad[9].rotation = 45;
  bad[10].rotation = -90;
  bad[11].rotation = 360;
  bad[12].std[2] = 1e-45f;
  for (size_t i = 0; i < bad.size(); ++i) EXPECT_TRUE(refused(image, bad[i])) << i;
  ImageView empty = image;
  empty.height = 0;
  EXPECT_TRUE(refused(empty, good));
  ImageView huge = image;
  huge.width = kMaxImageSide + 1;
  EXPECT_TRUE(refused(huge, good));
  ImageView far = image;
  far.planes[0].row_stride = -kMaxStride - 1;
  EXPECT_TRUE(refused(far, good));
  ImageView missing = image;
  missing.planes[2].data = nullptr;
  EXPECT_TRUE(refused(missing, good));
  missing.format = ColorFormat::kGray;
  EXPECT_FALSE(refused(missing, good));
  ImageView unknown = image;
  unknown.format = static_cast<ColorFormat>(9);
  EXPECT_TRUE(refused(unknown, good));
}

}  // namespace
}  // namespace edgedet
