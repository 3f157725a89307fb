#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "scan.h"

namespace edgedet {
namespace {

using kernels::kScanBlock;

template <typename T>
class FindBlockTest : public testing::Test {};

using Types = testing::Types<float, int8_t, uint8_t, int16_t>;
TYPED_TEST_SUITE(FindBlockTest, Types);

TYPED_TEST(FindBlockTest, FindsAValueEqualToTheThresholdWhereverItIs) {
  const TypeParam threshold = 100;
  uint64_t passing = 0;
  for (const size_t count : {size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{200}}) {
    std::vector<TypeParam> values(count, threshold - 1);
    EXPECT_EQ(FindBlock(values.data(), 0, count, threshold, &passing), count);
    for (size_t at = 0; at < count; ++at) {
      values[at] = threshold;
      const size_t block = at / kScanBlock * kScanBlock;
      EXPECT_EQ(FindBlock(values.data(), 0, count, threshold, &passing), block)
          << at << " of " << count;
      EXPECT_EQ(passing, uint64_t{1} << (at - block));
      EXPECT_EQ(FindBlock(values.data(), block, count, threshold, &passing), block);
      if (block + kScanBlock < count) {
        EXPECT_EQ(FindBlock(values.data(), block + kScanBlock, count, threshold, &passing), count);
      }
      values[at] = threshold - 1;
    }
  }
}

TYPED_TEST(FindBlockTest, ExtremeThresholdsHold) {
  using Limits = std::numeric_limits<TypeParam>;
  const std::vector<TypeParam> values(70, Limits::lowest());
  uint64_t passing = 0;
  EXPECT_EQ(FindBlock(values.data(), 0, 70, Limits::lowest(), &passing), 0u);
  EXPECT_EQ(passing, UINT64_MAX);
  EXPECT_EQ(FindBlock(values.data(), 0, 70, Limits::max(), &passing), 70u);
  EXPECT_EQ(FindBlock(values.data(), 0, 0, Limits::lowest(), &passing), 0u);
}

TYPED_TEST(FindBlockTest, ValuesFromAboveOnDoNotPass) {
  const TypeParam threshold = 50;
  const TypeParam above = 53;
  for (const size_t count : {size_t{1}, size_t{64}, size_t{65}, size_t{200}}) {
    for (size_t at = 0; at < count; ++at) {
      std::vector<TypeParam> values(count, 49);
      uint64_t passing = 0;
      for (const int value : {100, 53, 49}) {
        values[at] = static_cast<TypeParam>(value);
        EXPECT_EQ(FindBlock(values.data(), 0, count, threshold, above, &passing), count);
      }
      const size_t block = at / kScanBlock * kScanBlock;
      for (const int value : {50, 52}) {
        values[at] = static_cast<TypeParam>(value);
        EXPECT_EQ(FindBlock(values.data(), 0, count, threshold, above, &passing), block);
        EXPECT_EQ(passing, uint64_t{1} << (at - block));
      }
    }
  }
}

TEST(FindBlock, NanIsBelowEveryThreshold) {
  const std::vector<float> values(70, std::numeric_limits<float>::quiet_NaN());
  uint64_t passing = 0;
  EXPECT_EQ(FindBlock(values.data(), 0, 70, -std::numeric_limits<float>::infinity(), &passing),
            70u);
  EXPECT_EQ(
      FindBlock(values.data(), 0, 70, -std::numeric_limits<float>::infinity(), 1.0f, &passing),
      70u);
}

}  // namespace
}  // namespace edgedet
