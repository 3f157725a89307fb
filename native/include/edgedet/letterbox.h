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
// Strides beyond this, in either direction, are refused: offsets would not fit a pointer.
constexpr ptrdiff_t kMaxStride = PTRDIFF_MAX / (4 * kMaxImageSide);

// What the planes of an image are.
enum class ColorFormat {
  kRgb,            // red, green, blue
  kGray,           // one plane, taken for all three channels
  kYuv420,         // Y, U, V of JFIF, full range: what Android's cameras give
  kYuv420Limited,  // Y, U, V of BT.601 with Y from 16 to 235
};

// Samples of one channel in memory that the view does not own. Strides are in bytes and may be zero
// or negative.
struct Plane {
  const uint8_t* data;  // the top left sample
  ptrdiff_t row_stride;
  ptrdiff_t column_stride;
};

// An image of `height` x `width` pixels. Interleaved channels are planes that start at different
// bytes of the same memory, so that RGB, BGR, RGBA, BGRA and planes of their own are all kRgb. The
// planes U and V have (height + 1) / 2 rows and (width + 1) / 2 columns, rounded down, and each of
// their samples stands for a square of 2 x 2 pixels: YUV_420_888, I420, NV21 and NV12.
//
// U is Cb and V is Cr. Pixels become RGB by the equations of JFIF (ITU-T T.871, section 7),
//   R = Y + 1.402 (V - 128)
//   G = Y - (0.114 * 1.772 (U - 128) + 0.299 * 1.402 (V - 128)) / 0.587
//   B = Y + 1.772 (U - 128)
// in float32 from left to right, rounded half to even and clamped to 0..255. For the limited range
// (ITU-R BT.601-7, section 2.5.3) (Y - 16) * 255 / 219 takes Y's place and the factors of U and V
// are multiplied by 255 / 224.
struct ImageView {
  ColorFormat format;
  int64_t height;
  int64_t width;
  Plane planes[3];
};

// Channels next to each other, in this order; alpha is ignored.
enum class PixelLayout { kRgb, kBgr, kRgba, kBgra, kGray };

inline ImageView PackedImage(const uint8_t* data, int64_t height, int64_t width,
                             ptrdiff_t row_stride, PixelLayout layout) {
  if (layout == PixelLayout::kGray) {
    return {ColorFormat::kGray, height, width, {{data, row_stride, 1}, {}, {}}};
  }
  const bool has_alpha = layout == PixelLayout::kRgba || layout == PixelLayout::kBgra;
  const bool blue_first = layout == PixelLayout::kBgr || layout == PixelLayout::kBgra;
  const ptrdiff_t pixel = has_alpha ? 4 : 3;
  const ptrdiff_t red = blue_first ? 2 : 0;
  return {ColorFormat::kRgb,
          height,
          width,
          {{data + red, row_stride, pixel},
           {data + 1, row_stride, pixel},
           {data + (2 - red), row_stride, pixel}}};
}

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
  int32_t rotation;  // 0, 90, 180 or 270 degrees clockwise, applied to the image first
  bool mirror;       // swaps left and right, after the rotation
};

// Fits the image, rotated and mirrored, into the top left of the tensor with its aspect kept, and
// pads the rest with the element that stands for 0.
//
// Bilinear with half-pixel centres and clamped edges: rows are blended first, then columns, in
// float32, each as a + (b - a) * weight; then (value - mean) * gain with gain = 1 / (std * scale)
// rounded once from double. Integers round half to even and saturate. `tensor` holds
// height * width * 3 elements. `ratio` receives the number of tensor pixels per image pixel, the
// lesser of the two sides' where the image's sides are those after the rotation.
//
// One pass: no more than two rows of the rotated image are ever copied.
Status Letterbox(const ImageView& image, const LetterboxOptions& options, void* tensor,
                 double* ratio);

}  // namespace edgedet

#endif  // EDGEDET_LETTERBOX_H_
