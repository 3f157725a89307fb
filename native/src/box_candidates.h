#ifndef EDGEDET_SRC_BOX_CANDIDATES_H_
#define EDGEDET_SRC_BOX_CANDIDATES_H_

#include <cmath>
#include <cstdint>

#include "class_index.h"
#include "edgedet/boxes.h"
#include "edgedet/buffer.h"
#include "edgedet/status.h"
#include "score_order.h"

namespace edgedet {

// Arrays of boxes, scores and class ids as the candidates of a suppression (suppression.h).
class BoxCandidates {
 public:
  BoxCandidates(const Box* boxes, const int64_t* class_ids) : boxes_(boxes), ids_(class_ids) {}

  // Takes boxes and scores that are finite, and scores at or above the threshold.
  Status Init(const float* scores, int64_t count, float score_threshold) {
    for (int64_t i = 0; i < count; ++i) {
      if (std::isfinite(scores[i]) && scores[i] >= score_threshold && IsFinite(boxes_[i]) &&
          !keys_.push_back(ScoreKey(scores[i], static_cast<uint32_t>(i)))) {
        return Status::kOutOfMemory;
      }
    }
    if (ids_ != nullptr && !classes_.Init(keys_.size())) return Status::kOutOfMemory;
    return SortByScore(&keys_) ? Status::kOk : Status::kOutOfMemory;
  }

  bool Next(uint64_t* key) {
    if (at_ == keys_.size()) return false;
    *key = keys_[at_++];
    return true;
  }

  bool BoxOf(uint32_t index, Box* box) const {
    *box = boxes_[index];
    return true;
  }

  uint32_t ClassOf(uint32_t index) { return ids_ == nullptr ? 0 : classes_.IndexOf(ids_[index]); }

  Status status() const { return Status::kOk; }

 private:
  const Box* boxes_;
  const int64_t* ids_;
  ClassIndex classes_;
  Buffer<uint64_t> keys_;
  size_t at_ = 0;
};

}  // namespace edgedet

#endif  // EDGEDET_SRC_BOX_CANDIDATES_H_
