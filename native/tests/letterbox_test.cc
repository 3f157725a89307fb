#include "edgedet/letterbox.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace edgedet {
namespace {

ImageView Packed(const std::vector<uint8_t>& pixels, int64_t height, int64_t width) {
  return {pixels.data(), height, width, static_cast<ptrdiff_t>(3 * width), 3, 1};
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

TEST(Letterbox, SameSizeKeepsEveryPixel) {
  std::vector<uint8_t> pixels(5 * 7 * 3);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 37);
  LetterboxOptions options = Options(5, 7, ElementType::kUint8);
  for (int channel = 0; channel < 3; ++channel) {
    options.mean[channel] = 0.0f;
    options.std[channel] = 1.0f;
  }
  options.scale = 1.0;
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
  std::vector<LetterboxOptions> bad(9, good);
  bad[0].height = 0;
  bad[1].width = -1;
  bad[2].width = kMaxTensorSide + 1;
  bad[3].std[1] = 0.0f;
  bad[4].mean[2] = nan;
  bad[5].scale = 0.0;
  bad[6].zero_point = 128;
  bad[7].type = ElementType::kInt16;
  bad[8].std[0] = nan;
  for (size_t i = 0; i < bad.size(); ++i) EXPECT_TRUE(refused(image, bad[i])) << i;
  ImageView empty = image;
  empty.height = 0;
  EXPECT_TRUE(refused(empty, good));
  ImageView huge = image;
  huge.width = kMaxImageSide + 1;
  EXPECT_TRUE(refused(huge, good));
}

}  // namespace
}  // namespace edgedet
