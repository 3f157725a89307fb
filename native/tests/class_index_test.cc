#include "class_index.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace edgedet {
namespace {

TEST(ClassIndex, NumbersIdsInTheOrderTheyTurnUp) {
  ClassIndex classes;
  ASSERT_TRUE(classes.Init(3));
  EXPECT_EQ(classes.IndexOf(-5), 0u);
  EXPECT_EQ(classes.IndexOf(INT64_MAX), 1u);
  EXPECT_EQ(classes.IndexOf(-5), 0u);
  EXPECT_EQ(classes.IndexOf(0), 2u);
}

TEST(ClassIndex, KeepsCollidingIdsApart) {
  std::mt19937_64 random(5);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 5000; ++i) ids.push_back(static_cast<int64_t>(random()));
  ClassIndex classes;
  ASSERT_TRUE(classes.Init(ids.size()));
  for (int round = 0; round < 2; ++round) {
    for (size_t i = 0; i < ids.size(); ++i) ASSERT_EQ(classes.IndexOf(ids[i]), i);
  }
}

}  // namespace
}  // namespace edgedet
