#ifndef EDGEDET_POSTPROCESS_H_
#define EDGEDET_POSTPROCESS_H_

#include <cstdint>

#include "edgedet/boxes.h"
#include "edgedet/buffer.h"
#include "edgedet/element_type.h"
#include "edgedet/status.h"

namespace edgedet {

// A head's output at one pyramid level: [rows, columns, channels], packed, in native byte order.
// An integer q stands for scale * (q - zero_point), a product rounded once to float32; kFloat32
// ignores both.
struct HeadMap {
  const void* data;
  ElementType type;
  float scale;
  int32_t zero_point;
};

struct AnchorSize {
  float width;
  float height;
};

// One pyramid level; anchor a of location (row, column) is centred at
// ((column + 0.5) * stride_x, (row + 0.5) * stride_y).
struct Level {
  HeadMap classes;  // channel = anchor * num_classes + class, logits
  HeadMap boxes;    // channel = anchor * 4, then ty, tx, th, tw
  int32_t rows;
  int32_t columns;
  float stride_y;
  float stride_x;
  const AnchorSize* anchors;  // anchors_per_location of them
};

enum class Suppression {
  kHard,
  kSoftGaussian,  // soft-NMS: see edgedet/soft_nms.h
  kSoftLinear,
  kNone,  // every candidate is a detection
};

struct PostprocessOptions {
  int32_t num_classes;
  int32_t anchors_per_location;
  float score_threshold;  // 0..1; a candidate survives when sigmoid(logit) >= score_threshold
  float iou_threshold;    // 0..1; a candidate goes (kSoftLinear: falls) when an IoU is greater
  int64_t max_detections;
  float ratio;         // tensor pixels per image pixel: boxes are divided by it
  float image_height;  // boxes are clipped to the image; infinity leaves them as they are
  float image_width;
  Suppression suppression = Suppression::kHard;
  bool class_agnostic = false;  // candidates of different classes suppress each other as well
  float sigma = 0.5f;           // above 0; that of kSoftGaussian
  // Candidates to take at a time, best first; a few times as many are held at once. 0 leaves the
  // choice to the library. The detections don't depend on it.
  int64_t chunk = 0;
};

struct Detection {
  Box box;
  float score;
  int32_t class_id;
};

// Turns raw head tensors into detections, by descending score and then ascending candidate index
// (level, row, column, anchor, class).
//
// Every (anchor, class) pair at or above the threshold is a candidate. The threshold is moved to
// the tensors' own domain, so that what is below it is neither dequantized nor decoded. The best
// candidates are taken first, some thousands at a time, until max_detections are found: time and
// memory hardly grow with the number of candidates. NaN logits and non-finite boxes are dropped.
// NMS is per class unless class_agnostic, and in tensor pixels; then boxes are scaled and clipped,
// and empty ones dropped. Soft-NMS drops scores that fall below the threshold.
Status Postprocess(const Level* levels, int32_t level_count, const PostprocessOptions& options,
                   Buffer<Detection>* detections);

}  // namespace edgedet

#endif  // EDGEDET_POSTPROCESS_H_
