#ifndef EDGEDET_SRC_KERNELS_OVERLAP_KERNELS_H_
#define EDGEDET_SRC_KERNELS_OVERLAP_KERNELS_H_

#include <cstdint>

#include "edgedet/boxes.h"

namespace edgedet::kernels {

constexpr int kBlockBoxes = 16;
constexpr uint32_t kNoBlock = UINT32_MAX;

// Boxes in structure-of-arrays form. Unused places hold zeros: an empty box overlaps nothing.
struct BoxBlock {
  float x0[kBlockBoxes];
  float y0[kBlockBoxes];
  float x1[kBlockBoxes];
  float y1[kBlockBoxes];
  float area[kBlockBoxes];
  uint32_t next;  // index of the list's next block, or kNoBlock
};

struct OverlapKernels {
  // Whether the IoU of `box` with any box of the list that starts at blocks[first] is greater than
  // the threshold, which is 0 or more. IoU is the quotient in float32; where both boxes are empty
  // it is NaN, which is greater than nothing. `area` is the box's, and none is below 0.
  bool (*overlaps_any)(const BoxBlock* blocks, uint32_t first, const Box& box, float area,
                       float threshold);

  // Finds the first block, from blocks[at] along the list, with a box whose IoU with `box` is
  // greater than the threshold. It returns the block's index and sets `overlaps` to the IoUs of its
  // boxes and bit i of `greater` for box i; or it returns kNoBlock when there is none.
  uint32_t (*find_overlaps)(const BoxBlock* blocks, uint32_t at, const Box& box, float area,
                            float threshold, float overlaps[kBlockBoxes], uint32_t* greater);
};

}  // namespace edgedet::kernels

#endif  // EDGEDET_SRC_KERNELS_OVERLAP_KERNELS_H_
