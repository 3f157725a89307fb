#ifndef EDGEDET_LITERT_DELEGATE_FUSION_MATCHER_H_
#define EDGEDET_LITERT_DELEGATE_FUSION_MATCHER_H_

#include <cstdint>

#include "edgedet/buffer.h"
#include "edgedet/fusion.h"
#include "tflite_abi.h"

namespace edgedet::tflite {

// An addend of a fusion: factor * resampled tensor.
struct FusionLeaf {
  int tensor;
  float factor;
  int32_t repeat;
  int32_t halvings;
};

// Operators that one call of WeightedFusion replaces.
struct FusionNode {
  FusionLeaf leaves[kMaxFusionInputs];
  int32_t leaf_count;
  Activation activation;
  int output;  // tensor
};

// Who makes and who reads each tensor.
struct Wiring {
  Buffer<int> producer;  // node index, -1 for inputs and constants
  Buffer<int> readers;   // how many node inputs
  Buffer<int> last_reader;

  // False when out of memory or when the runtime refuses.
  [[nodiscard]] bool Read(TfLiteContext* context);
};

// Finds what a converter leaves of a fusion node:
//   leaf = input, or a MAX_POOL_2D of 3x3 and stride 2, or a RESIZE_NEAREST_NEIGHBOR by a whole
//          factor, of it; and perhaps a MUL by a constant number
//   sum = an ADD of leaves and sums
//   node = the sum, with its fused activation, or with LOGISTIC and MUL (swish), HARD_SWISH, RELU
//          or RELU6 behind it
// with at least one leaf that is resampled or scaled; a tensor read elsewhere too ends the pattern.
// Of int8 graphs only the sum of two unscaled leaves with a fused activation: elsewhere such a
// graph rounds between its operators, and one operator would differ from it by more than a step.
// `add` is the node index of the outermost ADD. On success `nodes` receives the operators.
[[nodiscard]] bool MatchFusion(TfLiteContext* context, const Wiring& wiring, int add,
                               FusionNode* found, Buffer<int>* nodes);

// The inputs and options of WeightedFusion for the tensors as they are now. False where they don't
// fit together, or where their type is neither float32 nor int8.
[[nodiscard]] bool Describe(const TfLiteContext* context, const FusionNode& node,
                            FusionInput* inputs, FusionOptions* options);

}  // namespace edgedet::tflite

#endif  // EDGEDET_LITERT_DELEGATE_FUSION_MATCHER_H_
