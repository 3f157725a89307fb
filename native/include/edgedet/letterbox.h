#ifndef EDGEDET_LETTERBOX_H_
#define EDGEDET_LETTERBOX_H_

#include <cstddef>
#include <cstdint>

#include "edgedet/element_type.h"
#include "edgedet/status.h"

namespace edgedet {

// Sides beyond these are refused before anything is allocated.
constexpr int64_t kMaxImageSide = int64_t{1} << 20;
constexpr int64_t kMaxTensorSide = 8192;

// An RGB image in memory it does not own. Strides are in bytes and may be zero or negative.
struct ImageView {
  const uint8_t* data;  // red of the top left pixel
  int64_t height;
  int64_t width;
  ptrdiff_t row_stride;
  ptrdiff_t column_stride;
  ptrdiff_t channel_stride;
};

// The input tensor of a network: element = round((value - mean) / std / scale) + zero_point, with
// no rounding, scale or zero point for kFloat32. kInt16 is not an input type.
struct LetterboxOptions {
  int64_t height;
  int64_t width;
  float mean[3];
  float std[3];
  ElementType type;
  double scale;
  int32_t zero_point;
};

// Fits the image into the top left of the tensor with its aspect kept, and pads the rest with the
// element that stands for 0.
//
// Bilinear with half-pixel centres and clamped edges: rows are blended first, then columns, in
// float32, each as a + (b - a) * weight; then (value - mean) * gain with gain = 1 / (std * scale)
// rounded once from double. Integers round half to even and saturate. `tensor` holds
// height * width * 3 elements. `ratio` receives min(height / image.height, width / image.width).
Status Letterbox(const ImageView& image, const LetterboxOptions& options, void* tensor,
                 double* ratio);

}  // namespace edgedet

#endif  // EDGEDET_LETTERBOX_H_
