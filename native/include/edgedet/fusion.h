#ifndef EDGEDET_FUSION_H_
#define EDGEDET_FUSION_H_

#include <cstdint>

#include "edgedet/element_type.h"
#include "edgedet/status.h"

namespace edgedet {

constexpr int32_t kMaxFusionInputs = 16;
// Elements of any one map; sizes beyond it are refused before anything is allocated.
constexpr int64_t kMaxFusionElements = int64_t{1} << 28;

enum class Activation { kNone, kRelu, kRelu6, kSwish, kHardSwish };

// How one axis of a map is brought to the fused map's size; one of the two fields is neutral.
//
// `repeat` is nearest neighbour: every element `repeat` times, the last perhaps fewer, so that the
// size divided by it and rounded up is the map's. `halvings` max pools of 3, stride 2 and padding
// "same", each of which leaves half of the elements, rounded up (EfficientDet's resampling).
struct AxisResampling {
  int32_t repeat = 1;
  int32_t halvings = 0;
};

// A map [height, width, channels], packed. kInt8 stands for scale * (q - zero_point).
struct FusionInput {
  const void* data;
  int32_t height;
  int32_t width;
  AxisResampling rows;
  AxisResampling columns;
  float weight;
  float scale;
  int32_t zero_point;
};

// The fused map. kFloat32 and kInt8 are the types; kFloat32 ignores scale and zero point.
struct FusionOptions {
  int32_t height;
  int32_t width;
  int32_t channels;
  ElementType type;
  Activation activation;
  float scale;
  int32_t zero_point;
};

// Fast normalized fusion (EfficientDet, Tan et al. 2020, section 3.3): turns learned weights into
// relu(weight) / (sum of relu(weights) + epsilon), in float32 and in the order given. False where
// that is not finite.
[[nodiscard]] bool NormalizeFusionWeights(const float* weights, int32_t count, float epsilon,
                                          float* normalized);

// out = activation(sum of weight * resampled input), one row after another, without a full-size
// temporary: scratch is at most two rows per input.
//
// Terms are added in the order of the inputs, in float32, each product rounded: every instruction
// set gives the same bits. kInt8 multiplies (q - zero_point) by weight * scale, rounded once; the
// result is multiplied by 1 / scale, rounded half to even, moved by the zero point and saturated.
// Max pooling compares what is stored; what it gives for NaN is not defined. Swish is within 2 ULP
// where its argument is -87 or more, and below -88 it is 0.
// `out` holds height * width * channels elements and overlaps no input.
Status WeightedFusion(const FusionInput* inputs, int32_t count, const FusionOptions& options,
                      void* out);

}  // namespace edgedet

#endif  // EDGEDET_FUSION_H_
