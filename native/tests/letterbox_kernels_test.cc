#include "kernels/letterbox_kernels.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "dispatch.h"

namespace edgedet {
namespace {

using kernels::ColumnTaps;
using kernels::kColumnBlock;
using kernels::LetterboxKernels;
using kernels::Normalization;

constexpr size_t kMostColumns = 37;
constexpr size_t kRoom = 3 * kColumnBlock;
constexpr size_t kGuard = 64;  // elements after a tensor that must stay as they are

std::vector<uint8_t> Bytes(size_t count, uint32_t seed) {
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) {
    seed = seed * 1664525u + 1013904223u;
    byte = static_cast<uint8_t>(seed >> 24);
  }
  return bytes;
}

template <typename Test>
void OnEveryIsa(Test test) {
  const AvailableKernels available = FindAvailableKernels();
  const LetterboxKernels& scalar = *available.best_first[available.count - 1]->letterbox;
  for (size_t i = 0; i + 1 < available.count; ++i) {
    SCOPED_TRACE(available.best_first[i]->isa);
    test(*available.best_first[i]->letterbox, scalar);
  }
}

TEST(LetterboxKernels, BlendedRowsAreThoseOfScalar) {
  OnEveryIsa([](const LetterboxKernels& kernels, const LetterboxKernels& scalar) {
    for (size_t count = 0; count < 70; ++count) {
      const std::vector<uint8_t> top = Bytes(count, 1), bottom = Bytes(count, 2);
      std::vector<float> expected(count + kGuard, -1.0f), blended = expected;
      scalar.blend_rows(top.data(), bottom.data(), 0.3f, count, expected.data());
      kernels.blend_rows(top.data(), bottom.data(), 0.3f, count, blended.data());
      ASSERT_EQ(blended, expected) << count;
      EXPECT_EQ(blended[count], -1.0f);
    }
  });
}

template <typename T>
using FinishMember = void (*(LetterboxKernels::*)[kernels::kPixelOrders])(const float*,
                                                                          const ColumnTaps&,
                                                                          const Normalization&, T*);

template <typename T>
void ExpectScalarColumns(FinishMember<T> member, const Normalization& normalization) {
  OnEveryIsa([&](const LetterboxKernels& kernels, const LetterboxKernels& scalar) {
    const std::vector<uint8_t> bytes = Bytes(4 * kRoom + 8, 3);
    std::vector<float> row(bytes.begin(), bytes.end());
    for (float& value : row) value += 0.37f;
    std::vector<int32_t> left(kRoom, 4);
    std::vector<float> weights(4 * kRoom, 0.0f);
    for (size_t i = 0; i < kMostColumns; ++i) {
      left[i] = static_cast<int32_t>(4 + (i * 29) % (4 * kRoom - 4));
      for (size_t k = 0; k < 4; ++k) weights[4 * i + k] = static_cast<float>(i) / 41.0f;
    }
    for (const ptrdiff_t step : {4, 3, 1, -3, -4}) {
      for (size_t order = 0; order < kernels::kPixelOrders; ++order) {
        for (size_t count = 1; count <= kMostColumns; ++count) {
          const ColumnTaps taps = {left.data(), weights.data(), step, count};
          std::vector<T> expected(3 * count + kGuard, T{99}), tensor = expected;
          (scalar.*member)[order](row.data(), taps, normalization, expected.data());
          (kernels.*member)[order](row.data(), taps, normalization, tensor.data());
          ASSERT_EQ(tensor, expected) << step << " " << order << " " << count;
          for (size_t i = 3 * count; i < tensor.size(); ++i) ASSERT_EQ(tensor[i], T{99}) << i;
        }
      }
    }
  });
}

TEST(LetterboxKernels, FloatColumnsAreThoseOfScalarAndStayInTheirRow) {
  const Normalization normalization = {
      {120.3f, 110.2f, 100.1f, 0.0f}, {0.017f, 0.018f, 0.019f, 0.0f}, 0.0f, 0.0f, 0};
  ExpectScalarColumns<float>(&LetterboxKernels::finish_f32, normalization);
}

TEST(LetterboxKernels, IntegerColumnsAreThoseOfScalarAndStayInTheirRow) {
  Normalization normalization = {
      {120.3f, 110.2f, 100.1f, 0.0f}, {1.3f, 1.2f, 1.1f, 0.0f}, -121.0f, 134.0f, -7};
  ExpectScalarColumns<int8_t>(&LetterboxKernels::finish_i8, normalization);
  normalization.low = -7.0f;
  normalization.high = 248.0f;
  normalization.zero_point = 7;
  ExpectScalarColumns<uint8_t>(&LetterboxKernels::finish_u8, normalization);
}

TEST(LetterboxKernels, ConvertedPixelsAreThoseOfScalar) {
  const kernels::YuvToRgb factors = {16.0f, 1.164f, 1.596f, 0.392f, 0.813f, 2.017f};
  OnEveryIsa([&](const LetterboxKernels& kernels, const LetterboxKernels& scalar) {
    for (size_t count = 1; count <= kRoom; ++count) {
      const std::vector<uint8_t> y = Bytes(kRoom, 4), u = Bytes(kRoom, 5), v = Bytes(kRoom, 6);
      std::vector<int32_t> expected(kRoom + kGuard, -1), pixels = expected;
      scalar.yuv_to_rgb(y.data(), u.data(), v.data(), count, factors, expected.data());
      kernels.yuv_to_rgb(y.data(), u.data(), v.data(), count, factors, pixels.data());
      ASSERT_EQ(pixels, expected) << count;
      EXPECT_EQ(pixels[kRoom], -1);
    }
  });
}

}  // namespace
}  // namespace edgedet
