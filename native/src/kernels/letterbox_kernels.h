#ifndef EDGEDET_SRC_KERNELS_LETTERBOX_KERNELS_H_
#define EDGEDET_SRC_KERNELS_LETTERBOX_KERNELS_H_

#include <cstddef>
#include <cstdint>

// Inner loops of the letterbox, in an order of float32 operations that every build must keep.
namespace edgedet::kernels {

// Two neighbouring columns of a row, as offsets of their first channel, and the right one's weight.
struct ColumnTap {
  int32_t left;
  int32_t right;
  float weight;
};

struct LetterboxKernels {
  // blended[i] = top[i] + (bottom[i] - top[i]) * weight
  void (*blend_rows)(const uint8_t* top, const uint8_t* bottom, float weight, size_t count,
                     float* blended);

  // Blends three channels per tap. Reads one float past the last column of `row` and writes one
  // past the end of `blended`, so that each pixel is one vector of four.
  void (*blend_columns)(const float* row, const ColumnTap* taps, size_t count, float* blended);

  // normalized[i] = (values[i] - mean[i]) * gain[i]
  void (*normalize)(const float* values, const float* mean, const float* gain, size_t count,
                    float* normalized);

  // The same, clamped to low..high, rounded half to even, plus the zero point. low and high are
  // integers within +-2^16 such that the sum fits the element.
  void (*quantize_i8)(const float* values, const float* mean, const float* gain, float low,
                      float high, int32_t zero_point, size_t count, int8_t* quantized);
  void (*quantize_u8)(const float* values, const float* mean, const float* gain, float low,
                      float high, int32_t zero_point, size_t count, uint8_t* quantized);
};

}  // namespace edgedet::kernels

#endif  // EDGEDET_SRC_KERNELS_LETTERBOX_KERNELS_H_
