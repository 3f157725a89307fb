#ifndef EDGEDET_SRC_SOFT_DECAY_H_
#define EDGEDET_SRC_SOFT_DECAY_H_

#include <cstdint>

#include "edgedet/soft_nms.h"
#include "kept_boxes.h"

namespace edgedet {

// How soft-NMS lowers scores: see edgedet/soft_nms.h.
struct SoftDecay {
  SoftNmsMethod method;
  float sigma;
  float iou_threshold;
  float score_threshold;

  // The box's score after the kept ones of its class from `compared` on. Once it is below the
  // threshold the rest is left out.
  float Rescore(const KeptBoxes& kept, const Box& box, uint32_t class_index, float score,
                KeptBoxes::Place* compared) const;
};

}  // namespace edgedet

#endif  // EDGEDET_SRC_SOFT_DECAY_H_
