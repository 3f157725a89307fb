#include "edgedet/soft_nms.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "edgedet/nms.h"

namespace edgedet {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

struct Result {
  std::vector<int64_t> indices;
  std::vector<float> scores;
};

Result Select(const std::vector<Box>& boxes, const std::vector<float>& scores,
              const SoftNmsOptions& options = {}, const std::vector<int64_t>& class_ids = {}) {
  Buffer<int64_t> selected;
  Buffer<float> rescored;
  EXPECT_EQ(SoftNms(boxes.data(), scores.data(), class_ids.empty() ? nullptr : class_ids.data(),
                    static_cast<int64_t>(boxes.size()), options, &selected, &rescored),
            Status::kOk);
  return {{selected.begin(), selected.end()}, {rescored.begin(), rescored.end()}};
}

// Bodla et al. 2017, Fig. 2: every remaining box is rescored after each selection.
Result Definition(const std::vector<Box>& boxes, std::vector<float> scores,
                  const SoftNmsOptions& options, const std::vector<int64_t>& class_ids) {
  Result result;
  std::vector<bool> left(boxes.size(), true);
  for (;;) {
    size_t best = boxes.size();
    for (size_t i = 0; i < boxes.size(); ++i) {
      if (!left[i] || scores[i] < options.score_threshold) continue;
      if (best == boxes.size() || scores[i] > scores[best]) best = i;
    }
    if (best == boxes.size()) return result;
    left[best] = false;
    result.indices.push_back(static_cast<int64_t>(best));
    result.scores.push_back(scores[best]);
    for (size_t i = 0; i < boxes.size(); ++i) {
      if (!left[i] || class_ids[i] != class_ids[best]) continue;
      const Box &a = boxes[i], &b = boxes[best];
      const float width = std::fmax(std::fmin(a.x1, b.x1) - std::fmax(a.x0, b.x0), 0.0f);
      const float height = std::fmax(std::fmin(a.y1, b.y1) - std::fmax(a.y0, b.y0), 0.0f);
      const float common = width * height;
      const float overlap = common / (Area(a) + Area(b) - common);
      if (options.method == SoftNmsMethod::kGaussian) {
        const double exponent = -(double{overlap} * double{overlap}) / double{options.sigma};
        scores[i] *= static_cast<float>(std::exp(exponent));
      } else if (overlap > options.iou_threshold) {
        scores[i] *= 1.0f - overlap;
      }
    }
  }
}

TEST(SoftNms, NothingInNothingOut) { EXPECT_TRUE(Select({}, {}).indices.empty()); }

TEST(SoftNms, AgreesWithTheDefinition) {
  std::mt19937 random(9);
  std::uniform_real_distribution<float> coordinate(0, 60);
  for (const SoftNmsMethod method : {SoftNmsMethod::kGaussian, SoftNmsMethod::kLinear}) {
    for (const int64_t classes : {1, 3}) {
      std::vector<Box> boxes;
      std::vector<float> scores;
      std::vector<int64_t> class_ids;
      for (int i = 0; i < 500; ++i) {
        const float x = coordinate(random), y = coordinate(random);
        boxes.push_back({x, y, x + coordinate(random) / 3, y + coordinate(random) / 3});
        scores.push_back(static_cast<float>(random() % 50) / 50.0f);
        class_ids.push_back(static_cast<int64_t>(random() % classes));
      }
      SoftNmsOptions options;
      options.method = method;
      options.score_threshold = 0.01f;
      const Result expected = Definition(boxes, scores, options, class_ids);
      const Result found = Select(boxes, scores, options, class_ids);
      EXPECT_EQ(found.indices, expected.indices);
      EXPECT_EQ(found.scores, expected.scores);
      EXPECT_GT(found.indices.size(), 200u);
      EXPECT_LT(found.indices.size(), 490u);
      options.max_detections = 7;
      EXPECT_EQ(Select(boxes, scores, options, class_ids).indices,
                std::vector<int64_t>(expected.indices.begin(), expected.indices.begin() + 7));
    }
  }
}

TEST(SoftNms, EqualNewScoresGoByIndex) {
  // The second and the third overlap the first alike, and not each other.
  const std::vector<Box> boxes = {{5, 0, 15, 10}, {0, 0, 10, 10}, {10, 0, 20, 10}};
  const Result found = Select(boxes, {0.9f, 0.5f, 0.5f});
  EXPECT_EQ(found.indices, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(found.scores[1], found.scores[2]);
  EXPECT_LT(found.scores[1], 0.5f);
}

TEST(SoftNms, DropsWhatIsNotFinite) {
  EXPECT_EQ(Select({{0, 0, 1, 1}, {kNan, 0, 1, 1}, {0, 0, kInf, 1}, {3, 3, 4, 4}, {9, 9, 10, 10}},
                   {kNan, 1, 1, 0.1f, kInf})
                .indices,
            (std::vector<int64_t>{3}));
}

TEST(SoftNms, BoxesWithoutAreaLowerNothing) {
  const std::vector<float> scores = {4, 3, 2, 1};
  EXPECT_EQ(Select({{1, 1, 1, 1}, {1, 1, 1, 1}, {4, 4, 0, 0}, {0, 0, 4, 4}}, scores).scores,
            scores);
}

TEST(SoftNms, RefusesWhatCannotBe) {
  const Box box = {0, 0, 1, 1};
  const float score = 1;
  Buffer<int64_t> selected;
  Buffer<float> rescored;
  const auto refused = [&](int64_t count, const SoftNmsOptions& options) {
    return SoftNms(&box, &score, nullptr, count, options, &selected, &rescored) ==
           Status::kInvalidArgument;
  };
  EXPECT_FALSE(refused(1, {}));
  EXPECT_TRUE(refused(-1, {}));
  EXPECT_TRUE(refused(kMaxCandidates + 1, {}));
  std::vector<SoftNmsOptions> bad(8);
  bad[0].sigma = 0.0f;
  bad[1].sigma = kNan;
  bad[2].sigma = kInf;
  bad[3].iou_threshold = -0.1f;
  bad[4].iou_threshold = kNan;
  bad[5].score_threshold = -0.1f;
  bad[6].score_threshold = kNan;
  bad[7].max_detections = -1;
  for (size_t i = 0; i < bad.size(); ++i) EXPECT_TRUE(refused(1, bad[i])) << i;
}

}  // namespace
}  // namespace edgedet
