#include "edgedet/soft_nms.h"

#include <cmath>

#include "box_candidates.h"
#include "edgedet/nms.h"
#include "suppression.h"

namespace edgedet {
namespace {

struct Rescored {
  bool full() const { return static_cast<int64_t>(indices->size()) >= limit; }
  bool Add(uint32_t index, float score, const Box&) {
    return indices->push_back(index) && scores->push_back(score);
  }

  Buffer<int64_t>* indices;
  Buffer<float>* scores;
  int64_t limit;
};

}  // namespace

Status SoftNms(const Box* boxes, const float* scores, const int64_t* class_ids, int64_t count,
               const SoftNmsOptions& options, Buffer<int64_t>* selected, Buffer<float>* rescored) {
  if (selected == nullptr || rescored == nullptr || count < 0 || count > kMaxCandidates ||
      (count > 0 && (boxes == nullptr || scores == nullptr)) ||
      !(options.iou_threshold >= 0.0f && options.iou_threshold <= 1.0f) ||
      !(options.sigma > 0.0f && std::isfinite(options.sigma)) ||
      !(options.score_threshold >= 0.0f) || options.max_detections < 0) {
    return Status::kInvalidArgument;
  }
  selected->clear();
  rescored->clear();
  BoxCandidates candidates(boxes, class_ids);
  const Status status = candidates.Init(scores, count, options.score_threshold);
  if (status != Status::kOk) return status;
  Rescored selection = {selected, rescored, options.max_detections};
  const SoftDecay decay = {options.method, options.sigma, options.iou_threshold,
                           options.score_threshold};
  return SuppressSoftly(decay, &candidates, &selection);
}

}  // namespace edgedet
