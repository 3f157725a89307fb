#include "score_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

namespace edgedet {
namespace {

TEST(ScoreKey, OrdersByDescendingScoreThenIndex) {
  const float big = std::numeric_limits<float>::max();
  const float tiny = std::numeric_limits<float>::denorm_min();
  const float scores[] = {big, 1.0f, 0.5f, tiny, 0.0f, -tiny, -0.5f, -1.0f, -big};
  for (size_t i = 0; i + 1 < std::size(scores); ++i) {
    EXPECT_LT(ScoreKey(scores[i], 9), ScoreKey(scores[i + 1], 0)) << scores[i];
    EXPECT_LT(ScoreKey(scores[i], 0), ScoreKey(scores[i], 1));
    EXPECT_EQ(KeyScore(ScoreKey(scores[i], 3)), scores[i]);
    EXPECT_EQ(KeyIndex(ScoreKey(scores[i], 3)), 3u);
  }
  EXPECT_EQ(ScoreKey(-0.0f, 1), ScoreKey(0.0f, 1));
}

class SortByScoreTest : public testing::TestWithParam<std::tuple<size_t, int>> {};

TEST_P(SortByScoreTest, AgreesWithAStableSort) {
  const auto [count, distinct] = GetParam();
  std::mt19937 random(7);
  Buffer<uint64_t> keys;
  std::vector<uint64_t> expected;
  for (size_t i = 0; i < count; ++i) {
    const float score = static_cast<float>(static_cast<int>(random() % distinct)) / 3.0f - 2.0f;
    ASSERT_TRUE(keys.push_back(ScoreKey(score, static_cast<uint32_t>(i))));
    expected.push_back(keys[i]);
  }
  std::sort(expected.begin(), expected.end());
  ASSERT_TRUE(SortByScore(&keys));
  EXPECT_EQ(std::vector<uint64_t>(keys.begin(), keys.end()), expected);
}

INSTANTIATE_TEST_SUITE_P(Sizes, SortByScoreTest,
                         testing::Combine(testing::Values(0, 1, 2, 48, 49, 1000, 50000),
                                          testing::Values(1, 2, 1000, 1 << 30)));

}  // namespace
}  // namespace edgedet
