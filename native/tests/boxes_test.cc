#include "edgedet/boxes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace edgedet {
namespace {

TEST(Decode, ZeroCodeIsTheAnchorItself) {
  const Box box = Decode({0, 0, 0, 0}, {10, 20, 4, 8});
  EXPECT_EQ(box.x0, 8);
  EXPECT_EQ(box.y0, 16);
  EXPECT_EQ(box.x1, 12);
  EXPECT_EQ(box.y1, 24);
}

TEST(Decode, CodesMoveByAnchorSizesAndScaleByExponentials) {
  const Box box = Decode({0.5f, -0.25f, std::log(2.0f), std::log(3.0f)}, {10, 20, 4, 8});
  EXPECT_NEAR(box.x0, 9 - 6, 1e-5);
  EXPECT_NEAR(box.x1, 9 + 6, 1e-5);
  EXPECT_NEAR(box.y0, 24 - 8, 1e-5);
  EXPECT_NEAR(box.y1, 24 + 8, 1e-5);
}

TEST(Decode, LogSizesAreClampedAboveAndNanIsKept) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Box box = Decode({0, 0, 1e30f, nan}, {0, 0, 2, 2});
  EXPECT_NEAR(box.y1, 62.5f, 1e-4);
  EXPECT_TRUE(std::isnan(box.x1));
  EXPECT_FALSE(IsFinite(box));
}

}  // namespace
}  // namespace edgedet
