#ifndef EDGEDET_SRC_KEPT_BOXES_H_
#define EDGEDET_SRC_KEPT_BOXES_H_

#include <cstdint>

#include "dispatch.h"
#include "edgedet/boxes.h"
#include "edgedet/buffer.h"
#include "kernels/overlap_kernels.h"

namespace edgedet {

// The boxes that non-maximum suppression has kept so far, one list per class.
//
// Candidates come by descending score over all classes at once, so a caller that wants the best
// few can stop early; the lists partition them by class without moving any coordinate.
class KeptBoxes {
 public:
  explicit KeptBoxes(float iou_threshold)
      : kernel_(*ActiveKernels().overlap), iou_threshold_(iou_threshold) {}

  enum class Verdict { kKept, kSuppressed, kOutOfMemory };

  // Keeps the box unless its IoU with a kept one of its class is greater than the threshold.
  Verdict Offer(const Box& box, uint32_t class_index);

 private:
  struct List {
    uint32_t first = kernels::kNoBlock;
    uint32_t last = kernels::kNoBlock;
    uint32_t in_last = kernels::kBlockBoxes;
  };

  const kernels::OverlapKernels& kernel_;
  float iou_threshold_;
  Buffer<List> lists_;
  Buffer<kernels::BoxBlock> blocks_;
};

}  // namespace edgedet

#endif  // EDGEDET_SRC_KEPT_BOXES_H_
