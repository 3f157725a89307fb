#ifndef EDGEDET_NMS_H_
#define EDGEDET_NMS_H_

#include <cstdint>
#include <limits>

#include "edgedet/boxes.h"
#include "edgedet/buffer.h"
#include "edgedet/status.h"

namespace edgedet {

// Indices share a 64-bit sort key with their score.
constexpr int64_t kMaxCandidates = (int64_t{1} << 32) - 1;

struct NmsOptions {
  float iou_threshold = 0.5f;  // 0..1; a box goes when its IoU with a kept one is greater
  float score_threshold = -std::numeric_limits<float>::infinity();  // scores below it go
  int64_t max_detections = std::numeric_limits<int64_t>::max();
};

// Hard non-maximum suppression: `kept` receives indices by descending score, ties by lower index.
//
// Boxes of different class_ids never meet; class_ids may be null. Boxes and scores that are not
// finite are dropped. Inverted boxes have no area, and a box without area has an IoU of 0 with
// every other.
Status Nms(const Box* boxes, const float* scores, const int64_t* class_ids, int64_t count,
           const NmsOptions& options, Buffer<int64_t>* kept);

}  // namespace edgedet

#endif  // EDGEDET_NMS_H_
