#ifndef EDGEDET_SOFT_NMS_H_
#define EDGEDET_SOFT_NMS_H_

#include <cstdint>
#include <limits>

#include "edgedet/boxes.h"
#include "edgedet/buffer.h"
#include "edgedet/status.h"

namespace edgedet {

// What a score is multiplied by for each box selected before it.
enum class SoftNmsMethod {
  kGaussian,  // exp(-IoU^2 / sigma)
  kLinear,    // 1 - IoU where the IoU is greater than the threshold
};

struct SoftNmsOptions {
  SoftNmsMethod method = SoftNmsMethod::kGaussian;
  float sigma = 0.5f;              // above 0; the Gaussian's
  float iou_threshold = 0.3f;      // 0..1; the linear form's
  float score_threshold = 0.001f;  // 0 or more; a box goes when its score is or falls below it
  int64_t max_detections = std::numeric_limits<int64_t>::max();
};

// Soft-NMS (Bodla et al. 2017, Fig. 2 and Eqs. 1 and 3): selects the box of the highest score, ties
// by lower index, lowers the scores of those that overlap it, and goes on.
//
// `selected` receives indices in that order, `rescored` their scores then. Boxes of different
// class_ids never meet; class_ids may be null. Boxes and scores that are not finite are dropped.
// Factors are rounded to float32 (the Gaussian from double) and multiplied in the order of
// selection, so that every machine gets the same scores.
Status SoftNms(const Box* boxes, const float* scores, const int64_t* class_ids, int64_t count,
               const SoftNmsOptions& options, Buffer<int64_t>* selected, Buffer<float>* rescored);

}  // namespace edgedet

#endif  // EDGEDET_SOFT_NMS_H_
