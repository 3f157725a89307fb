#include "kernels/letterbox_kernels.h"

namespace edgedet::EDGEDET_ISA {
namespace {

using kernels::ColumnTap;

// Three channels and whatever follows: a vector type of GCC and Clang, on any instruction set.
using Pixel = float __attribute__((vector_size(16)));

template <typename T>
void QuantizeTo(const float* __restrict values, const float* __restrict mean,
                const float* __restrict gain, float low, float high, int32_t zero_point,
                size_t count, T* __restrict quantized) {
  // Adding 1.5 * 2^23 leaves the rounded integer in the low bits of the sum: the float unit itself
  // rounds half to even, and unlike nearbyint() this vectorizes on every instruction set.
  constexpr float kMagic = 12582912.0f;
  constexpr int32_t kMagicBits = 0x4B400000;
  const int32_t shift = zero_point - kMagicBits;
  for (size_t i = 0; i < count; ++i) {
    float value = (values[i] - mean[i]) * gain[i];
    value = value < low ? low : value;
    value = value > high ? high : value;
    const int32_t rounded = __builtin_bit_cast(int32_t, value + kMagic) + shift;
    quantized[i] = static_cast<T>(rounded);
  }
}

void BlendRows(const uint8_t* __restrict top, const uint8_t* __restrict bottom, float weight,
               size_t count, float* __restrict blended) {
  for (size_t i = 0; i < count; ++i) {
    const float above = static_cast<float>(top[i]);
    const float below = static_cast<float>(bottom[i]);
    blended[i] = above + (below - above) * weight;
  }
}

void BlendColumns(const float* __restrict row, const ColumnTap* __restrict taps, size_t count,
                  float* __restrict blended) {
  for (size_t i = 0; i < count; ++i) {
    Pixel left, right;
    __builtin_memcpy(&left, row + taps[i].left, sizeof(left));
    __builtin_memcpy(&right, row + taps[i].right, sizeof(right));
    const Pixel pixel = left + (right - left) * taps[i].weight;
    __builtin_memcpy(blended + 3 * i, &pixel, sizeof(pixel));
  }
}

void Normalize(const float* __restrict values, const float* __restrict mean,
               const float* __restrict gain, size_t count, float* __restrict normalized) {
  for (size_t i = 0; i < count; ++i) normalized[i] = (values[i] - mean[i]) * gain[i];
}

}  // namespace

extern const kernels::LetterboxKernels kLetterbox;
const kernels::LetterboxKernels kLetterbox = {BlendRows, BlendColumns, Normalize,
                                              QuantizeTo<int8_t>, QuantizeTo<uint8_t>};

}  // namespace edgedet::EDGEDET_ISA
