#include "edgedet/nms.h"

#include <cmath>

#include "class_index.h"
#include "kept_boxes.h"
#include "score_order.h"

namespace edgedet {

Status Nms(const Box* boxes, const float* scores, const int64_t* class_ids, int64_t count,
           const NmsOptions& options, Buffer<int64_t>* kept) {
  if (kept == nullptr || count < 0 || count > kMaxCandidates ||
      (count > 0 && (boxes == nullptr || scores == nullptr)) ||
      !(options.iou_threshold >= 0.0f && options.iou_threshold <= 1.0f) ||
      std::isnan(options.score_threshold) || options.max_detections < 0) {
    return Status::kInvalidArgument;
  }
  kept->clear();
  Buffer<uint64_t> keys;
  for (int64_t i = 0; i < count; ++i) {
    if (std::isfinite(scores[i]) && scores[i] >= options.score_threshold && IsFinite(boxes[i])) {
      if (!keys.push_back(ScoreKey(scores[i], static_cast<uint32_t>(i)))) {
        return Status::kOutOfMemory;
      }
    }
  }
  ClassIndex classes;
  if (class_ids != nullptr && !classes.Init(keys.size())) return Status::kOutOfMemory;
  if (!SortByScore(&keys)) return Status::kOutOfMemory;

  KeptBoxes kept_boxes(options.iou_threshold);
  for (const uint64_t key : keys) {
    if (static_cast<int64_t>(kept->size()) >= options.max_detections) break;
    const uint32_t index = KeyIndex(key);
    const uint32_t class_index = class_ids == nullptr ? 0 : classes.IndexOf(class_ids[index]);
    const KeptBoxes::Verdict verdict = kept_boxes.Offer(boxes[index], class_index);
    if (verdict == KeptBoxes::Verdict::kOutOfMemory ||
        (verdict == KeptBoxes::Verdict::kKept && !kept->push_back(index))) {
      return Status::kOutOfMemory;
    }
  }
  return Status::kOk;
}

}  // namespace edgedet
