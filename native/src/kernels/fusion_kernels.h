#ifndef EDGEDET_SRC_KERNELS_FUSION_KERNELS_H_
#define EDGEDET_SRC_KERNELS_FUSION_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "edgedet/fusion.h"

namespace edgedet::kernels {

// One addend of a fusion: `count` elements in a row. `offset` is the zero point of integers.
template <typename T>
struct FusionTerm {
  const T* values;
  float factor;
  int32_t offset;
};

// Half-open.
struct FusionRange {
  int32_t begin;
  int32_t end;
};

// How a fused value becomes an int8: times gain, to low..high, half to even, plus the zero point.
// low and high are integers such that the sum fits.
struct FusionStore {
  float gain;
  float low;
  float high;
  int32_t zero_point;
};

struct FusionKernels {
  // out[i] = activation(factor[0] * values[0][i] + factor[1] * values[1][i] + ...), from the left.
  void (*fuse_f32)(const FusionTerm<float>* terms, size_t term_count, Activation activation,
                   size_t count, float* out);
  void (*fuse_i8)(const FusionTerm<int8_t>* terms, size_t term_count, Activation activation,
                  const FusionStore& store, size_t count, int8_t* out);

  // larger[i] = larger[i] > other[i] ? larger[i] : other[i]
  void (*max_f32)(const float* other, size_t count, float* larger);
  void (*max_i8)(const int8_t* other, size_t count, int8_t* larger);
};

}  // namespace edgedet::kernels

#endif  // EDGEDET_SRC_KERNELS_FUSION_KERNELS_H_
