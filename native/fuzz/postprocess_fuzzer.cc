#include <cmath>
#include <vector>

#include "edgedet/postprocess.h"
#include "expect.h"
#include "input.h"

namespace {

using namespace edgedet;

struct HeldLevel {
  fuzz::Elements classes;
  fuzz::Elements boxes;
  std::vector<AnchorSize> anchors;
};

HeadMap DrawMap(FuzzedDataProvider& bytes) {
  HeadMap map = {};
  map.type = fuzz::DrawType(bytes);
  map.scale = bytes.ConsumeBool() ? 0.0625f : fuzz::DrawFloat(bytes);
  map.zero_point =
      bytes.ConsumeBool() ? bytes.ConsumeIntegral<int8_t>() : bytes.ConsumeIntegral<int32_t>();
  return map;
}

void CheckDetections(const Buffer<Detection>& found, const PostprocessOptions& options) {
  EXPECT(static_cast<int64_t>(found.size()) <= options.max_detections);
  for (size_t i = 0; i < found.size(); ++i) {
    const Detection& detection = found[i];
    EXPECT(detection.score <= 1.0f);
    EXPECT(i == 0 || detection.score <= found[i - 1].score);
    EXPECT(detection.class_id >= 0 && detection.class_id < options.num_classes);
    EXPECT(detection.box.x1 > detection.box.x0 && detection.box.y1 > detection.box.y0);
    EXPECT(detection.score >= options.score_threshold);
    if (!std::isinf(options.image_width)) {
      EXPECT(detection.box.x0 >= 0.0f && detection.box.x1 <= options.image_width);
      EXPECT(detection.box.y0 >= 0.0f && detection.box.y1 <= options.image_height);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider bytes(data, size);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  PostprocessOptions options = {};
  options.num_classes = bytes.ConsumeIntegralInRange<int32_t>(0, 9);
  options.anchors_per_location = bytes.ConsumeIntegralInRange<int32_t>(0, 3);
  options.score_threshold = fuzz::DrawShare(bytes);
  options.iou_threshold = fuzz::DrawShare(bytes);
  options.max_detections =
      bytes.ConsumeBool() ? bytes.ConsumeIntegral<int8_t>() : std::numeric_limits<int64_t>::max();
  options.ratio = bytes.ConsumeBool() ? 1.0f : fuzz::DrawFloat(bytes);
  const bool clipped = bytes.ConsumeBool();
  options.image_height = clipped ? fuzz::DrawFloat(bytes) : kInfinity;
  options.image_width = clipped ? fuzz::DrawFloat(bytes) : kInfinity;

  constexpr Suppression kSuppressions[] = {Suppression::kHard, Suppression::kSoftGaussian,
                                           Suppression::kSoftLinear, Suppression::kNone};
  options.suppression = kSuppressions[bytes.ConsumeIntegralInRange<size_t>(0, 3)];
  options.class_agnostic = bytes.ConsumeBool();
  options.sigma = bytes.ConsumeBool() ? 0.5f : fuzz::DrawFloat(bytes);
  options.chunk = bytes.ConsumeIntegralInRange<int64_t>(-1, 40);

  const auto level_count = bytes.ConsumeIntegralInRange<int32_t>(0, 4);
  std::vector<Level> levels;
  for (int32_t l = 0; l < level_count; ++l) {
    Level level = {};
    level.classes = DrawMap(bytes);
    level.boxes = DrawMap(bytes);
    level.rows = bytes.ConsumeIntegralInRange<int32_t>(0, 12);
    level.columns = bytes.ConsumeIntegralInRange<int32_t>(0, 12);
    level.stride_y = bytes.ConsumeBool() ? 8.0f : fuzz::DrawFloat(bytes);
    level.stride_x = bytes.ConsumeBool() ? 8.0f : fuzz::DrawFloat(bytes);
    levels.push_back(level);
  }
  const bool coarse = bytes.ConsumeBool();
  const float side = bytes.ConsumeBool() ? 20.0f : fuzz::DrawFloat(bytes);
  const std::vector<uint8_t> pattern = bytes.ConsumeRemainingBytes<uint8_t>();

  std::vector<HeldLevel> held;
  held.reserve(levels.size());
  for (Level& level : levels) {
    const auto anchors = static_cast<size_t>(options.anchors_per_location);
    const size_t places = anchors * static_cast<size_t>(level.rows * level.columns);
    const size_t phase = held.size() * 31;
    held.push_back({{level.classes.type, places * static_cast<size_t>(options.num_classes), pattern,
                     phase, coarse},
                    {level.boxes.type, places * 4, pattern, phase + 7, coarse},
                    std::vector<AnchorSize>(anchors, {side, side})});
    level.classes.data = held.back().classes.data();
    level.boxes.data = held.back().boxes.data();
    level.anchors = held.back().anchors.data();
  }
  Buffer<Detection> found;
  if (Postprocess(levels.data(), level_count, options, &found) != Status::kOk) return 0;
  CheckDetections(found, options);
  // However the candidates are cut into chunks, the detections are the same.
  options.chunk = 0;
  Buffer<Detection> whole;
  EXPECT(Postprocess(levels.data(), level_count, options, &whole) == Status::kOk);
  EXPECT(whole.size() == found.size());
  EXPECT(found.size() == 0 ||
         std::memcmp(whole.data(), found.data(), found.size() * sizeof(Detection)) == 0);
  return 0;
}
