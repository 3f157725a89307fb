#ifndef EDGEDET_SRC_KERNELS_LETTERBOX_KERNELS_H_
#define EDGEDET_SRC_KERNELS_LETTERBOX_KERNELS_H_

#include <cstddef>
#include <cstdint>

// Inner loops of the letterbox, in an order of float32 operations that every build must keep.
namespace edgedet::kernels {

// What the elements of a blended row are: 3 or 4 per pixel of which the first three are channels,
// or 1 that stands for all three.
enum PixelOrder { kRgbPixels, kBgrPixels, kGrayPixels, kPixelOrders };

// Arrays that go with columns have room for a multiple of this.
constexpr size_t kColumnBlock = 16;

// Where the resized columns come from: column i is left[i] .. left[i] + right_step, offsets of
// elements in a blended row, and the right one's weight, four times over. Both arrays are filled
// with valid entries up to a multiple of kColumnBlock.
struct ColumnTaps {
  const int32_t* left;
  const float* weights;
  ptrdiff_t right_step;
  size_t count;
};

// The last element is there to fill vectors.
struct Normalization {
  float mean[4];
  float gain[4];
  float low;
  float high;
  int32_t zero_point;
};

struct YuvToRgb {
  float luma_offset;
  float luma_gain;
  float red_v;
  float green_u;
  float green_v;
  float blue_u;
};

struct LetterboxKernels {
  // blended[i] = top[i] + (bottom[i] - top[i]) * weight
  void (*blend_rows)(const uint8_t* top, const uint8_t* bottom, float weight, size_t count,
                     float* blended);

  // Blends columns of a blended row, each channel as left + (right - left) * weight, and writes
  // (value - mean) * gain: three elements per column. Reads four floats from each offset on.
  void (*finish_f32[kPixelOrders])(const float* row, const ColumnTaps& taps,
                                   const Normalization& normalization, float* tensor);

  // The same, clamped to low..high, rounded half to even, plus the zero point. low and high are
  // integers within +-2^16 such that the sum fits the element.
  void (*finish_i8[kPixelOrders])(const float* row, const ColumnTaps& taps,
                                  const Normalization& normalization, int8_t* tensor);
  void (*finish_u8[kPixelOrders])(const float* row, const ColumnTaps& taps,
                                  const Normalization& normalization, uint8_t* tensor);

  // One pixel per sample: red in the lowest byte, then green and blue, the highest 0. Works on
  // `count` rounded up to a multiple of kColumnBlock.
  void (*yuv_to_rgb)(const uint8_t* y, const uint8_t* u, const uint8_t* v, size_t count,
                     const YuvToRgb& factors, int32_t* pixels);
};

}  // namespace edgedet::kernels

#endif  // EDGEDET_SRC_KERNELS_LETTERBOX_KERNELS_H_
