#include "edgedet/postprocess.h"

#include <cmath>

#include "candidate_keys.h"
#include "decoded_boxes.h"
#include "edgedet/nms.h"
#include "suppression.h"

namespace edgedet {
namespace {

// The head tensors' candidates, loaded and decoded as their turn comes: most never are once
// max_detections are found.
class HeadCandidates {
 public:
  HeadCandidates(const Level* levels, const Numbering& numbering, const PostprocessOptions& options)
      : numbering_(numbering),
        num_classes_(static_cast<uint32_t>(options.num_classes)),
        class_agnostic_(options.class_agnostic),
        source_(levels, numbering, options.score_threshold, options.chunk),
        boxes_(levels, options.anchors_per_location) {}

  bool Next(uint64_t* key) {
    if (at_ == keys_.size()) {
      if (status_ != Status::kOk || !source_.Load(&keys_)) {
        status_ = Status::kOutOfMemory;
        return false;
      }
      at_ = 0;
      if (keys_.size() == 0) return false;
    }
    *key = keys_[at_++];
    return true;
  }

  bool BoxOf(uint32_t index, Box* box) {
    int32_t level = 0;
    while (index >= numbering_.starts[level + 1]) ++level;
    const uint32_t anchor = index / num_classes_;
    const auto first = static_cast<uint32_t>(numbering_.starts[level] / num_classes_);
    *box = boxes_.BoxAt(level, anchor - first, anchor);
    return IsFinite(*box);
  }

  uint32_t ClassOf(uint32_t index) const { return class_agnostic_ ? 0 : index % num_classes_; }

  Status status() const { return status_; }

 private:
  const Numbering& numbering_;
  uint32_t num_classes_;
  bool class_agnostic_;
  CandidateKeys source_;
  DecodedBoxes boxes_;
  Buffer<uint64_t> keys_;
  size_t at_ = 0;
  Status status_ = Status::kOk;
};

float Clip(float value, float limit) {
  const float positive = value < 0.0f ? 0.0f : value;
  return positive > limit ? limit : positive;
}

Box InImage(const Box& box, const PostprocessOptions& options) {
  const Box scaled = {box.x0 / options.ratio, box.y0 / options.ratio, box.x1 / options.ratio,
                      box.y1 / options.ratio};
  if (std::isinf(options.image_width)) return scaled;
  return {Clip(scaled.x0, options.image_width), Clip(scaled.y0, options.image_height),
          Clip(scaled.x1, options.image_width), Clip(scaled.y1, options.image_height)};
}

// Selected candidates as detections in the image.
struct Detections {
  bool full() const { return static_cast<int64_t>(found->size()) >= options.max_detections; }

  bool Add(uint32_t index, float score, const Box& box) {
    const Box shown = InImage(box, options);
    if (!(shown.x1 > shown.x0 && shown.y1 > shown.y0)) return true;
    const auto num_classes = static_cast<uint32_t>(options.num_classes);
    return found->push_back({shown, score, static_cast<int32_t>(index % num_classes)});
  }

  const PostprocessOptions& options;
  Buffer<Detection>* found;
};

bool Valid(const HeadMap& map) {
  return map.data != nullptr && (map.type == ElementType::kFloat32 ||
                                 (map.scale > 0.0f && std::isfinite(map.scale) &&
                                  map.zero_point >= -32768 && map.zero_point <= 32767));
}

bool Valid(const PostprocessOptions& options) {
  const auto share = [](float value) { return value >= 0.0f && value <= 1.0f; };
  return options.num_classes >= 1 && options.anchors_per_location >= 1 &&
         share(options.score_threshold) && share(options.iou_threshold) &&
         options.max_detections >= 0 && options.ratio > 0.0f && std::isfinite(options.ratio) &&
         options.image_height > 0.0f && options.image_width > 0.0f &&
         std::isinf(options.image_height) == std::isinf(options.image_width) &&
         options.sigma > 0.0f && std::isfinite(options.sigma) && options.chunk >= 0;
}

// False when a level can't be, or when the candidates are more than keys can number.
bool Number(const Level* levels, int32_t level_count, const PostprocessOptions& options,
            Numbering* numbering) {
  int64_t total = 0;
  numbering->level_count = level_count;
  for (int32_t l = 0; l < level_count; ++l) {
    numbering->starts[l] = total;
    const Level& level = levels[l];
    if (!Valid(level.classes) || !Valid(level.boxes) || level.anchors == nullptr ||
        level.rows < 1 || level.columns < 1 || !(level.stride_y > 0.0f) ||
        !(level.stride_x > 0.0f)) {
      return false;
    }
    const int64_t factors[] = {level.rows, level.columns, options.anchors_per_location,
                               options.num_classes};
    int64_t count = 1;
    for (const int64_t factor : factors) {
      if (count > kMaxCandidates / factor) return false;
      count *= factor;
    }
    total += count;
    if (total > kMaxCandidates) return false;
  }
  numbering->starts[level_count] = total;
  return true;
}

}  // namespace

Status Postprocess(const Level* levels, int32_t level_count, const PostprocessOptions& options,
                   Buffer<Detection>* detections) {
  Numbering numbering;
  if (detections == nullptr || levels == nullptr || level_count < 1 || level_count > kMaxLevels ||
      !Valid(options) || !Number(levels, level_count, options, &numbering)) {
    return Status::kInvalidArgument;
  }
  detections->clear();
  HeadCandidates candidates(levels, numbering, options);
  Detections selection = {options, detections};
  SoftDecay decay = {SoftNmsMethod::kGaussian, options.sigma, options.iou_threshold,
                     options.score_threshold};
  switch (options.suppression) {
    case Suppression::kNone:
      return SelectAll(&candidates, &selection);
    case Suppression::kHard:
      return SuppressHard(options.iou_threshold, &candidates, &selection);
    case Suppression::kSoftLinear:
      decay.method = SoftNmsMethod::kLinear;
      break;
    case Suppression::kSoftGaussian:
      break;
  }
  return SuppressSoftly(decay, &candidates, &selection);
}

}  // namespace edgedet
