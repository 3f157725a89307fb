#include <cmath>
#include <vector>

#include "edgedet/nms.h"
#include "edgedet/soft_nms.h"
#include "expect.h"
#include "input.h"

namespace {

using namespace edgedet;

constexpr int64_t kMaxBoxes = 300;

// Whether candidate a has its turn before candidate b.
bool Before(const std::vector<float>& scores, int64_t a, int64_t b) {
  const float first = scores[static_cast<size_t>(a)], second = scores[static_cast<size_t>(b)];
  return first > second || (first == second && a < b);
}

float Overlap(const Box& a, const Box& b) {
  const auto side = [](float low, float high) { return high > low ? high - low : 0.0f; };
  const float intersection = side(a.x0 > b.x0 ? a.x0 : b.x0, a.x1 < b.x1 ? a.x1 : b.x1) *
                             side(a.y0 > b.y0 ? a.y0 : b.y0, a.y1 < b.y1 ? a.y1 : b.y1);
  return intersection / (Area(a) + Area(b) - intersection);
}

void CheckSoftNms(const std::vector<Box>& boxes, const std::vector<float>& scores,
                  const int64_t* class_ids, const SoftNmsOptions& options) {
  Buffer<int64_t> selected;
  Buffer<float> rescored;
  const auto count = static_cast<int64_t>(boxes.size());
  if (SoftNms(boxes.data(), scores.data(), class_ids, count, options, &selected, &rescored) !=
      Status::kOk) {
    return;
  }
  EXPECT(selected.size() == rescored.size());
  EXPECT(static_cast<int64_t>(selected.size()) <= options.max_detections);
  std::vector<bool> seen(boxes.size());
  for (size_t i = 0; i < selected.size(); ++i) {
    EXPECT(selected[i] >= 0 && selected[i] < count);
    const auto at = static_cast<size_t>(selected[i]);
    EXPECT(!seen[at]);
    seen[at] = true;
    EXPECT(rescored[i] >= options.score_threshold && rescored[i] <= scores[at]);
    EXPECT(i == 0 || rescored[i] <= rescored[i - 1]);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider bytes(data, size);
  NmsOptions options;
  options.iou_threshold = fuzz::DrawShare(bytes);
  if (bytes.ConsumeBool()) options.score_threshold = fuzz::DrawFloat(bytes);
  if (bytes.ConsumeBool()) options.max_detections = bytes.ConsumeIntegral<int8_t>();
  const bool per_class = bytes.ConsumeBool();
  const bool linear = bytes.ConsumeBool();
  const float sigma = bytes.ConsumeBool() ? 0.5f : fuzz::DrawFloat(bytes);
  const float soft_threshold = fuzz::DrawShare(bytes);
  const bool coarse = bytes.ConsumeBool();
  std::vector<Box> boxes;
  std::vector<float> scores;
  std::vector<int64_t> class_ids;
  const auto draw = [&] {
    return coarse ? static_cast<float>(bytes.ConsumeIntegral<int8_t>()) : fuzz::DrawFloat(bytes);
  };
  while (bytes.remaining_bytes() > 0 && static_cast<int64_t>(boxes.size()) < kMaxBoxes) {
    const float x0 = draw(), y0 = draw(), x1 = draw(), y1 = draw();
    boxes.push_back({x0, y0, x1, y1});
    scores.push_back(draw());
    class_ids.push_back(per_class ? bytes.ConsumeIntegralInRange<int64_t>(-2, 2) : 0);
  }
  boxes.shrink_to_fit();
  scores.shrink_to_fit();

  SoftNmsOptions soft;
  soft.method = linear ? SoftNmsMethod::kLinear : SoftNmsMethod::kGaussian;
  soft.sigma = sigma;
  soft.iou_threshold = options.iou_threshold;
  soft.score_threshold = soft_threshold;
  soft.max_detections = options.max_detections;
  CheckSoftNms(boxes, scores, per_class ? class_ids.data() : nullptr, soft);

  Buffer<int64_t> kept;
  const auto count = static_cast<int64_t>(boxes.size());
  if (Nms(boxes.data(), scores.data(), per_class ? class_ids.data() : nullptr, count, options,
          &kept) != Status::kOk) {
    return 0;
  }
  EXPECT(static_cast<int64_t>(kept.size()) <= options.max_detections);
  for (size_t i = 0; i < kept.size(); ++i) {
    EXPECT(kept[i] >= 0 && kept[i] < count);
    const auto at = static_cast<size_t>(kept[i]);
    EXPECT(std::isfinite(scores[at]) && scores[at] >= options.score_threshold);
    EXPECT(IsFinite(boxes[at]));
    for (size_t j = 0; j < i; ++j) {
      const auto better = static_cast<size_t>(kept[j]);
      EXPECT(Before(scores, kept[j], kept[i]));
      EXPECT(class_ids[better] != class_ids[at] ||
             !(Overlap(boxes[at], boxes[better]) > options.iou_threshold));
    }
  }
  if (static_cast<int64_t>(kept.size()) == options.max_detections) return 0;
  // Each box that went had a better one in its way.
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    if (!std::isfinite(scores[at]) || scores[at] < options.score_threshold ||
        !IsFinite(boxes[at])) {
      continue;
    }
    bool settled = false;
    for (const int64_t better : kept) {
      const auto rival = static_cast<size_t>(better);
      settled = settled || better == i ||
                (Before(scores, better, i) && class_ids[rival] == class_ids[at] &&
                 Overlap(boxes[at], boxes[rival]) > options.iou_threshold);
    }
    EXPECT(settled);
  }
  return 0;
}
