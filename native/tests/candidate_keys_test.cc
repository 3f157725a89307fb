#include "candidate_keys.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "score_order.h"
#include "sigmoid.h"

namespace edgedet {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Maps {
  std::vector<std::vector<float>> values;
  std::vector<Level> levels;
  Numbering numbering = {};

  void Add(std::vector<float> logits) {
    numbering.starts[values.size() + 1] =
        numbering.starts[values.size()] + static_cast<int64_t>(logits.size());
    values.push_back(std::move(logits));
    Level level = {};
    level.classes.type = ElementType::kFloat32;
    levels.push_back(level);
    numbering.level_count = static_cast<int32_t>(levels.size());
    for (size_t l = 0; l < levels.size(); ++l) levels[l].classes.data = values[l].data();
  }

  std::vector<uint64_t> Expected(float lowest) const {
    std::vector<uint64_t> keys;
    uint32_t index = 0;
    for (const auto& level : values) {
      for (const float logit : level) {
        if (Sigmoid(logit) >= lowest) keys.push_back(ScoreKey(Sigmoid(logit), index));
        ++index;
      }
    }
    std::sort(keys.begin(), keys.end());
    return keys;
  }

  // All chunks one after another.
  std::vector<uint64_t> Loaded(float lowest, int64_t chunk, size_t* chunks) const {
    CandidateKeys source(levels.data(), numbering, lowest, chunk);
    std::vector<uint64_t> all;
    Buffer<uint64_t> keys;
    for (*chunks = 0; source.Load(&keys) && keys.size() > 0; ++*chunks) {
      all.insert(all.end(), keys.begin(), keys.end());
    }
    EXPECT_TRUE(source.Load(&keys));
    EXPECT_EQ(keys.size(), 0u);
    return all;
  }
};

// Logits from a few values: most scores are tied, also across levels.
Maps Tied(int distinct) {
  std::mt19937 random(5);
  Maps maps;
  for (const size_t count : {size_t{700}, size_t{64}, size_t{1}, size_t{130}}) {
    std::vector<float> logits;
    for (size_t i = 0; i < count; ++i) {
      logits.push_back(static_cast<float>(random() % distinct) / 16.0f - 3.0f);
    }
    logits[count / 2] = kNan;
    maps.Add(logits);
  }
  return maps;
}

TEST(CandidateKeys, ChunksGiveAllCandidatesInOrder) {
  for (const int distinct : {1, 2, 100, 1 << 20}) {
    const Maps maps = Tied(distinct);
    for (const float lowest : {0.0f, Sigmoid(-2.5f), Sigmoid(3.0f)}) {
      const std::vector<uint64_t> expected = maps.Expected(lowest);
      for (const int64_t chunk : {0, 1, 2, 31, 64, 500, 5000}) {
        size_t chunks = 0;
        EXPECT_EQ(maps.Loaded(lowest, chunk, &chunks), expected) << chunk;
        if (chunk == 1 && expected.size() > 700) {
          EXPECT_GE(chunks, 4u);
        }
        if (chunk == 0) {
          EXPECT_EQ(chunks, expected.empty() ? 0u : 1u);
        }
      }
    }
  }
}

TEST(CandidateKeys, RisingAndFallingScoresMakeNoDifference) {
  std::vector<float> rising;
  for (int i = 0; i < 3000; ++i) rising.push_back(static_cast<float>(i) / 300.0f - 6.0f);
  const std::vector<float> falling(rising.rbegin(), rising.rend());
  for (const auto& logits : {rising, falling}) {
    Maps maps;
    maps.Add(logits);
    size_t chunks = 0;
    EXPECT_EQ(maps.Loaded(0.01f, 10, &chunks), maps.Expected(0.01f));
    EXPECT_GE(chunks, 4u);
  }
}

TEST(CandidateKeys, LogitsThatRoundToOneScoreStayInTheOrderOfTheirIndices) {
  Maps maps;
  std::vector<float> logits;
  // All these logits have a score of 1; their own order is the reverse.
  for (int i = 0; i < 500; ++i) logits.push_back(40.0f - static_cast<float>(i % 100) / 8.0f);
  maps.Add(logits);
  ASSERT_EQ(Sigmoid(logits[99]), 1.0f);
  size_t chunks = 0;
  const std::vector<uint64_t> keys = maps.Loaded(0.5f, 3, &chunks);
  ASSERT_EQ(keys.size(), 500u);
  for (uint32_t i = 0; i < 500; ++i) EXPECT_EQ(KeyIndex(keys[i]), i);
}

}  // namespace
}  // namespace edgedet
