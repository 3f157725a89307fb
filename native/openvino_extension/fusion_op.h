#ifndef EDGEDET_OPENVINO_EXTENSION_FUSION_OP_H_
#define EDGEDET_OPENVINO_EXTENSION_FUSION_OP_H_

#include <cstdint>
#include <memory>
#include <openvino/op/op.hpp>
#include <string>
#include <vector>

namespace edgedet::openvino {

// WeightedFusion of float32 maps [1, H, W, C] as one node of an OpenVINO graph.
//
// Attributes, one entry per input but the last: `factors`; `repeats` (nearest neighbour, 1 for
// none) and `halvings` (max pooling of 3 with stride 2, 0 for none), the same for rows and columns;
// `activation`: none, relu, relu6, swish or hard_swish. The size is the first input's, resampled.
class FusionOp : public ov::op::Op {
 public:
  OPENVINO_OP("EdgeDetFusion", "edgedet");

  FusionOp() = default;
  FusionOp(const ov::OutputVector& inputs, std::vector<float> factors, std::vector<int64_t> repeats,
           std::vector<int64_t> halvings, std::string activation);

  void validate_and_infer_types() override;
  std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override;
  bool visit_attributes(ov::AttributeVisitor& visitor) override;
  bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override;
  bool has_evaluate() const override { return true; }

 private:
  std::vector<float> factors_;
  std::vector<int64_t> repeats_;
  std::vector<int64_t> halvings_;
  std::string activation_ = "none";
};

}  // namespace edgedet::openvino

#endif  // EDGEDET_OPENVINO_EXTENSION_FUSION_OP_H_
