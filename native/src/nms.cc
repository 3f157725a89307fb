#include "edgedet/nms.h"

#include <cmath>

#include "box_candidates.h"
#include "suppression.h"

namespace edgedet {
namespace {

struct Indices {
  bool full() const { return static_cast<int64_t>(kept->size()) >= limit; }
  bool Add(uint32_t index, float, const Box&) { return kept->push_back(index); }

  Buffer<int64_t>* kept;
  int64_t limit;
};

}  // namespace

Status Nms(const Box* boxes, const float* scores, const int64_t* class_ids, int64_t count,
           const NmsOptions& options, Buffer<int64_t>* kept) {
  if (kept == nullptr || count < 0 || count > kMaxCandidates ||
      (count > 0 && (boxes == nullptr || scores == nullptr)) ||
      !(options.iou_threshold >= 0.0f && options.iou_threshold <= 1.0f) ||
      std::isnan(options.score_threshold) || options.max_detections < 0) {
    return Status::kInvalidArgument;
  }
  kept->clear();
  BoxCandidates candidates(boxes, class_ids);
  const Status status = candidates.Init(scores, count, options.score_threshold);
  if (status != Status::kOk) return status;
  Indices selection = {kept, options.max_detections};
  return SuppressHard(options.iou_threshold, &candidates, &selection);
}

}  // namespace edgedet
