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
  // How far along its class's list a box has been compared; the beginning at first.
  struct Place {
    uint32_t block = kernels::kNoBlock;
    uint32_t in_block = 0;
  };

  KeptBoxes() : kernels_(*ActiveKernels().overlap) {}

  // Whether the IoU of the box with a kept one of its class is greater than the threshold.
  bool OverlapsAny(const Box& box, uint32_t class_index, float threshold) const;

  // Goes on from `place` to kept boxes of the class whose IoU with this one is greater than the
  // threshold. Writes some of those IoUs in the order of keeping and returns how many: 0 when there
  // are no more.
  int NextOverlaps(const Box& box, uint32_t class_index, float threshold, Place* place,
                   float overlaps[kernels::kBlockBoxes]) const;

  // Adds the box to its class's list. False when out of memory.
  [[nodiscard]] bool Keep(const Box& box, uint32_t class_index);

 private:
  struct List {
    uint32_t first = kernels::kNoBlock;
    uint32_t last = kernels::kNoBlock;
    uint32_t in_last = kernels::kBlockBoxes;
  };

  const kernels::OverlapKernels& kernels_;
  Buffer<List> lists_;
  Buffer<kernels::BoxBlock> blocks_;
};

}  // namespace edgedet

#endif  // EDGEDET_SRC_KEPT_BOXES_H_
