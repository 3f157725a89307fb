#include "edgedet/postprocess.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace edgedet {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// One level of 2 x 3 locations, two anchors and two classes: 12 anchors, 24 candidates.
template <typename T>
struct Heads {
  explicit Heads(ElementType type, T background, T zero) {
    classes.assign(24, background);
    codes.assign(48, zero);
    level = {
        {classes.data(), type, 1.0f, 0}, {codes.data(), type, 1.0f, 0}, 2, 3, 8.0f, 8.0f, anchors};
  }

  std::vector<Detection> Run(PostprocessOptions options) const {
    Buffer<Detection> found;
    EXPECT_EQ(Postprocess(&level, 1, options, &found), Status::kOk);
    return {found.begin(), found.end()};
  }

  AnchorSize anchors[2] = {{8, 8}, {4, 16}};
  std::vector<T> classes;
  std::vector<T> codes;
  Level level;
};

PostprocessOptions Options() {
  PostprocessOptions options = {};
  options.num_classes = 2;
  options.anchors_per_location = 2;
  options.score_threshold = 0.25f;
  options.iou_threshold = 0.5f;
  options.max_detections = 100;
  options.ratio = 1.0f;
  options.image_height = kInf;
  options.image_width = kInf;
  return options;
}

size_t Candidate(int row, int column, int anchor, int class_id) {
  return static_cast<size_t>(((row * 3 + column) * 2 + anchor) * 2 + class_id);
}

TEST(Postprocess, FindsAnchorAndClassOfALogit) {
  Heads<float> heads(ElementType::kFloat32, -9.0f, 0.0f);
  heads.classes[Candidate(1, 2, 1, 1)] = 2.0f;
  const auto found = heads.Run(Options());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].class_id, 1);
  EXPECT_NEAR(found[0].score, 1 / (1 + std::exp(-2.0)), 1e-6);
  EXPECT_EQ(found[0].box.x0, 20 - 2);
  EXPECT_EQ(found[0].box.y0, 12 - 8);
  EXPECT_EQ(found[0].box.x1, 20 + 2);
  EXPECT_EQ(found[0].box.y1, 12 + 8);
}

TEST(Postprocess, ScalesAndClipsToTheImage) {
  Heads<float> heads(ElementType::kFloat32, -9.0f, 0.0f);
  heads.classes[Candidate(0, 0, 1, 0)] = 1.0f;  // 2, -4, 6, 12
  PostprocessOptions options = Options();
  options.ratio = 0.5f;
  options.image_height = 20.0f;
  options.image_width = 10.0f;
  const auto found = heads.Run(options);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].box.x0, 4);
  EXPECT_EQ(found[0].box.y0, 0);
  EXPECT_EQ(found[0].box.x1, 10);
  EXPECT_EQ(found[0].box.y1, 20);
}

TEST(Postprocess, DropsBoxesOutsideTheImageBeforeCounting) {
  Heads<float> heads(ElementType::kFloat32, -9.0f, 0.0f);
  heads.classes[Candidate(0, 2, 0, 0)] = 3.0f;  // 16 .. 24, in the padding
  heads.classes[Candidate(0, 0, 0, 0)] = 1.0f;
  PostprocessOptions options = Options();
  options.max_detections = 1;
  options.image_height = options.image_width = 12.0f;
  const auto found = heads.Run(options);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].box.x0, 0);
}

TEST(Postprocess, IntegerLogitsAreDequantized) {
  Heads<int8_t> heads(ElementType::kInt8, -128, 5);
  heads.level.classes.scale = 0.1f;
  heads.level.classes.zero_point = 10;
  heads.level.boxes.zero_point = 5;
  heads.classes[Candidate(0, 1, 0, 0)] = 30;  // logit 2
  heads.classes[Candidate(1, 0, 0, 1)] = 0;   // logit -1: 0.269
  heads.classes[Candidate(1, 2, 0, 1)] = -2;  // logit -1.2: 0.231
  const auto found = heads.Run(Options());
  ASSERT_EQ(found.size(), 2u);
  EXPECT_NEAR(found[0].score, 1 / (1 + std::exp(-2.0)), 1e-6);
  EXPECT_NEAR(found[1].score, 1 / (1 + std::exp(1.0)), 1e-6);
  EXPECT_EQ(found[0].box.x0, 8);
}

TEST(Postprocess, ThresholdOfZeroKeepsAllButNan) {
  Heads<float> heads(ElementType::kFloat32, -1000.0f, 0.0f);
  heads.classes[3] = -kInf;
  heads.classes[7] = kNan;
  PostprocessOptions options = Options();
  options.score_threshold = 0.0f;
  options.iou_threshold = 1.0f;
  EXPECT_EQ(heads.Run(options).size(), 23u);
}

TEST(Postprocess, ThresholdOfOneKeepsOnlyCertainty) {
  Heads<float> heads(ElementType::kFloat32, 10.0f, 0.0f);
  heads.classes[5] = 40.0f;
  heads.classes[6] = kInf;
  PostprocessOptions options = Options();
  options.score_threshold = 1.0f;
  const auto found = heads.Run(options);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].score, 1.0f);
  Heads<uint8_t> unreachable(ElementType::kUint8, 255, 0);
  unreachable.level.classes.scale = 0.01f;
  EXPECT_TRUE(unreachable.Run(options).empty());
}

TEST(Postprocess, BoxesThatAreNotFiniteAreDropped) {
  Heads<float> heads(ElementType::kFloat32, -9.0f, 0.0f);
  heads.classes[0] = heads.classes[4] = 2.0f;
  heads.codes[0] = kNan;
  heads.codes[4] = 3e38f;
  heads.codes[8] = kInf;
  EXPECT_TRUE(heads.Run(Options()).empty());
}

TEST(Postprocess, SuppressesAsAsked) {
  Heads<float> heads(ElementType::kFloat32, -9.0f, 0.0f);
  heads.classes[Candidate(0, 0, 0, 0)] = 3.0f;
  heads.classes[Candidate(0, 0, 0, 1)] = 2.0f;  // the same box
  heads.classes[Candidate(0, 1, 0, 0)] = 1.0f;
  for (const int64_t chunk : {0, 1, 2}) {
    PostprocessOptions options = Options();
    options.chunk = chunk;
    EXPECT_EQ(heads.Run(options).size(), 3u);
    options.class_agnostic = true;
    EXPECT_EQ(heads.Run(options).size(), 2u);
    options.suppression = Suppression::kNone;
    EXPECT_EQ(heads.Run(options).size(), 3u);
    for (const Suppression soft : {Suppression::kSoftGaussian, Suppression::kSoftLinear}) {
      options.suppression = soft;
      options.score_threshold = 0.0f;
      options.max_detections = 3;
      const auto found = heads.Run(options);
      ASSERT_EQ(found.size(), 3u);
      EXPECT_EQ(found[0].class_id, 0);
      EXPECT_EQ(found[1].box.x0, 8);  // 0.73; the second class has fallen below that
      if (soft == Suppression::kSoftGaussian) {
        EXPECT_EQ(found[2].class_id, 1);
        EXPECT_NEAR(found[2].score, std::exp(-2.0) / (1 + std::exp(-2.0)), 1e-6);
      } else {
        EXPECT_LT(found[2].score, 0.01);
      }
    }
  }
}

TEST(Postprocess, RefusesWhatCannotBe) {
  const Heads<float> heads(ElementType::kFloat32, 0, 0);
  const auto refused = [&](const Level& level, const PostprocessOptions& options) {
    Buffer<Detection> found;
    return Postprocess(&level, 1, options, &found) == Status::kInvalidArgument;
  };
  EXPECT_FALSE(refused(heads.level, Options()));
  std::vector<PostprocessOptions> bad(12, Options());
  bad[0].num_classes = 0;
  bad[1].score_threshold = kNan;
  bad[2].score_threshold = 1.5f;
  bad[3].iou_threshold = -1.0f;
  bad[4].max_detections = -1;
  bad[5].ratio = 0.0f;
  bad[6].image_width = 0.0f;
  bad[7].image_height = kNan;
  bad[8].num_classes = std::numeric_limits<int32_t>::max();
  bad[9].sigma = 0.0f;
  bad[10].sigma = kInf;
  bad[11].chunk = -1;
  for (size_t i = 0; i < bad.size(); ++i) EXPECT_TRUE(refused(heads.level, bad[i])) << i;
  Level level = heads.level;
  level.rows = -2;
  EXPECT_TRUE(refused(level, Options()));
  level = heads.level;
  level.classes.data = nullptr;
  EXPECT_TRUE(refused(level, Options()));
  level = heads.level;
  level.boxes.type = ElementType::kInt8;
  level.boxes.scale = 0.0f;
  EXPECT_TRUE(refused(level, Options()));
  Buffer<Detection> found;
  EXPECT_EQ(Postprocess(&heads.level, 0, Options(), &found), Status::kInvalidArgument);
}

}  // namespace
}  // namespace edgedet
