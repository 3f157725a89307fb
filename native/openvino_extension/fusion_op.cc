#include "fusion_op.h"

#include <optional>
#include <utility>

#include "edgedet/fusion.h"

namespace edgedet::openvino {
namespace {

std::optional<Activation> ActivationOf(const std::string& name) {
  if (name == "none") return Activation::kNone;
  if (name == "relu") return Activation::kRelu;
  if (name == "relu6") return Activation::kRelu6;
  if (name == "swish") return Activation::kSwish;
  if (name == "hard_swish") return Activation::kHardSwish;
  return std::nullopt;
}

int64_t Resampled(int64_t side, int64_t repeat, int64_t halvings) {
  for (int64_t step = 0; step < halvings; ++step) side -= side / 2;
  return side * repeat;
}

}  // namespace

FusionOp::FusionOp(const ov::OutputVector& inputs, std::vector<float> factors,
                   std::vector<int64_t> repeats, std::vector<int64_t> halvings,
                   std::string activation)
    : Op(inputs),
      factors_(std::move(factors)),
      repeats_(std::move(repeats)),
      halvings_(std::move(halvings)),
      activation_(std::move(activation)) {
  constructor_validate_and_infer_types();
}

void FusionOp::validate_and_infer_types() {
  const size_t count = get_input_size();
  NODE_VALIDATION_CHECK(this, count >= 1 && count <= static_cast<size_t>(kMaxFusionInputs),
                        "a fusion has 1 to ", kMaxFusionInputs, " inputs");
  NODE_VALIDATION_CHECK(
      this, factors_.size() == count && repeats_.size() == count && halvings_.size() == count,
      "factors, repeats and halvings have one entry per input");
  NODE_VALIDATION_CHECK(this, ActivationOf(activation_).has_value(), "unknown activation ",
                        activation_);
  std::vector<ov::Shape> shapes;
  for (size_t i = 0; i < count; ++i) {
    const ov::PartialShape& shape = get_input_partial_shape(i);
    NODE_VALIDATION_CHECK(this, shape.is_static() && shape.size() == 4 && shape[0] == 1, "input ",
                          i, " must be a map [1, H, W, C] of a known size");
    // The plugin runs its type inference again while it converts precisions.
    NODE_VALIDATION_CHECK(this, get_input_element_type(i).is_real(), "input ", i,
                          " must be a float tensor");
    shapes.push_back(shape.to_shape());
    NODE_VALIDATION_CHECK(this, repeats_[i] >= 1 && halvings_[i] >= 0 && halvings_[i] < 31,
                          "input ", i, " can't be resampled so");
  }
  ov::Shape fused = shapes[0];
  for (const size_t axis : {1, 2}) {
    fused[axis] = static_cast<size_t>(
        Resampled(static_cast<int64_t>(fused[axis]), repeats_[0], halvings_[0]));
  }
  set_output_type(0, get_input_element_type(0), fused);
}

std::shared_ptr<ov::Node> FusionOp::clone_with_new_inputs(const ov::OutputVector& inputs) const {
  return std::make_shared<FusionOp>(inputs, factors_, repeats_, halvings_, activation_);
}

bool FusionOp::visit_attributes(ov::AttributeVisitor& visitor) {
  visitor.on_attribute("factors", factors_);
  visitor.on_attribute("repeats", repeats_);
  visitor.on_attribute("halvings", halvings_);
  visitor.on_attribute("activation", activation_);
  return true;
}

bool FusionOp::evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const {
  const size_t count = inputs.size();
  if (count != factors_.size() || outputs.size() != 1 ||
      outputs[0].get_element_type() != ov::element::f32) {
    return false;
  }
  FusionInput maps[kMaxFusionInputs];
  for (size_t i = 0; i < count; ++i) {
    const ov::Shape& shape = inputs[i].get_shape();
    if (inputs[i].get_element_type() != ov::element::f32) return false;
    const AxisResampling axis = {static_cast<int32_t>(repeats_[i]),
                                 static_cast<int32_t>(halvings_[i])};
    maps[i] = {inputs[i].data(),
               static_cast<int32_t>(shape[1]),
               static_cast<int32_t>(shape[2]),
               axis,
               axis,
               factors_[i],
               1.0f,
               0};
    if (shape[3] != inputs[0].get_shape()[3]) return false;
  }
  const ov::Shape fused = get_output_shape(0);
  outputs[0].set_shape(fused);
  const FusionOptions options = {static_cast<int32_t>(fused[1]),
                                 static_cast<int32_t>(fused[2]),
                                 static_cast<int32_t>(fused[3]),
                                 ElementType::kFloat32,
                                 *ActivationOf(activation_),
                                 1.0f,
                                 0};
  return WeightedFusion(maps, static_cast<int32_t>(count), options, outputs[0].data()) ==
         Status::kOk;
}

}  // namespace edgedet::openvino
