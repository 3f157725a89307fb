#include "edgedet/nms.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

namespace edgedet {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<int64_t> Kept(const std::vector<Box>& boxes, const std::vector<float>& scores,
                          const NmsOptions& options = {},
                          const std::vector<int64_t>& class_ids = {}) {
  Buffer<int64_t> kept;
  const Status status =
      Nms(boxes.data(), scores.data(), class_ids.empty() ? nullptr : class_ids.data(),
          static_cast<int64_t>(boxes.size()), options, &kept);
  EXPECT_EQ(status, Status::kOk);
  return {kept.begin(), kept.end()};
}

using Indices = std::vector<int64_t>;

TEST(Nms, NothingInNothingOut) { EXPECT_EQ(Kept({}, {}), Indices()); }

TEST(Nms, KeepsTheBestOfOverlappingBoxes) {
  EXPECT_EQ(Kept({{0, 0, 10, 10}, {1, 0, 11, 10}, {20, 0, 30, 10}}, {0.5f, 0.9f, 0.1f}),
            (Indices{1, 2}));
}

TEST(Nms, AnIouEqualToTheThresholdSurvives) {
  // Intersection 5 x 10, union 150: IoU is a third; and a half for the second pair.
  NmsOptions options;
  options.iou_threshold = 1.0f / 3.0f;
  EXPECT_EQ(Kept({{0, 0, 10, 10}, {5, 0, 15, 10}}, {1, 0.5f}, options), (Indices{0, 1}));
  options.iou_threshold = 0.5f;
  EXPECT_EQ(Kept({{0, 0, 10, 10}, {0, 0, 10, 5}}, {1, 0.5f}, options), (Indices{0, 1}));
  options.iou_threshold = 0.499f;
  EXPECT_EQ(Kept({{0, 0, 10, 10}, {0, 0, 10, 5}}, {1, 0.5f}, options), (Indices{0}));
}

TEST(Nms, EqualScoresGoByIndex) {
  EXPECT_EQ(Kept({{0, 0, 1, 1}, {5, 5, 6, 6}, {0, 0, 1, 1}}, {0.5f, 0.5f, 0.5f}), (Indices{0, 1}));
}

TEST(Nms, ClassesDoNotMeet) {
  const std::vector<Box> boxes(4, Box{0, 0, 4, 4});
  const int64_t far = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(Kept(boxes, {0.1f, 0.2f, 0.3f, 0.4f}, {}, {far, -1, far, 1000000007}),
            (Indices{3, 2, 1}));
}

TEST(Nms, DropsWhatIsNotFinite) {
  EXPECT_EQ(Kept({{0, 0, 1, 1}, {kNan, 0, 1, 1}, {0, 0, kInf, 1}, {0, -kInf, 1, 1}, {3, 3, 4, 4}},
                 {kNan, 1, 1, 1, 0.1f}),
            (Indices{4}));
  EXPECT_EQ(Kept({{0, 0, 1, 1}, {3, 3, 4, 4}}, {kInf, -kInf}), Indices());
}

TEST(Nms, BoxesWithoutAreaSuppressNothing) {
  EXPECT_EQ(Kept({{1, 1, 1, 1}, {1, 1, 1, 1}, {4, 4, 0, 0}, {0, 0, 4, 4}}, {4, 3, 2, 1}),
            (Indices{0, 1, 2, 3}));
}

TEST(Nms, HugeCoordinatesOverflowToNoOverlap) {
  const float far = 3e38f;
  EXPECT_EQ(Kept({{-far, -far, far, far}, {-far, -far, far, far}}, {1, 0.5f}), (Indices{0, 1}));
}

TEST(Nms, HonoursThresholdAndLimit) {
  std::vector<Box> boxes;
  std::vector<float> scores;
  for (int i = 0; i < 100; ++i) {
    const float at = static_cast<float>(2 * i);
    boxes.push_back({at, 0, at + 1, 1});
    scores.push_back(static_cast<float>(i) / 100);
  }
  NmsOptions options;
  options.score_threshold = scores[97];
  EXPECT_EQ(Kept(boxes, scores, options), (Indices{99, 98, 97}));
  options.max_detections = 2;
  EXPECT_EQ(Kept(boxes, scores, options), (Indices{99, 98}));
  options.max_detections = 0;
  EXPECT_EQ(Kept(boxes, scores, options), Indices());
}

TEST(Nms, AgreesWithTheQuadraticDefinition) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> coordinate(0, 60);
  const int count = 700;
  std::vector<Box> boxes;
  std::vector<float> scores;
  for (int i = 0; i < count; ++i) {
    const float x = coordinate(random), y = coordinate(random);
    boxes.push_back({x, y, x + coordinate(random) / 3, y + coordinate(random) / 3});
    scores.push_back(static_cast<float>(random() % 50) / 50.0f);
  }
  Indices order(count);
  for (int i = 0; i < count; ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  Indices expected;
  for (const int64_t i : order) {
    bool keep = true;
    for (const int64_t j : expected) {
      const Box &a = boxes[i], &b = boxes[j];
      const float width = std::max(std::min(a.x1, b.x1) - std::max(a.x0, b.x0), 0.0f);
      const float height = std::max(std::min(a.y1, b.y1) - std::max(a.y0, b.y0), 0.0f);
      const float common = width * height;
      const float all = (a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - common;
      keep = keep && !(common / all > 0.3f);
    }
    if (keep) expected.push_back(i);
  }
  NmsOptions options;
  options.iou_threshold = 0.3f;
  EXPECT_EQ(Kept(boxes, scores, options), expected);
  EXPECT_GT(expected.size(), 40u);
  EXPECT_LT(expected.size(), 600u);
}

TEST(Nms, RefusesWhatCannotBe) {
  const Box box = {0, 0, 1, 1};
  const float score = 1;
  Buffer<int64_t> kept;
  const auto run = [&](int64_t count, NmsOptions options) {
    return Nms(&box, &score, nullptr, count, options, &kept);
  };
  EXPECT_EQ(run(1, {}), Status::kOk);
  EXPECT_EQ(run(-1, {}), Status::kInvalidArgument);
  EXPECT_EQ(run(kMaxCandidates + 1, {}), Status::kInvalidArgument);
  EXPECT_EQ(run(1, {-0.1f, 0, 1}), Status::kInvalidArgument);
  EXPECT_EQ(run(1, {kNan, 0, 1}), Status::kInvalidArgument);
  EXPECT_EQ(run(1, {0.5f, kNan, 1}), Status::kInvalidArgument);
  EXPECT_EQ(run(1, {0.5f, 0, -1}), Status::kInvalidArgument);
}

}  // namespace
}  // namespace edgedet
