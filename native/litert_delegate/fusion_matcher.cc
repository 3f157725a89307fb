#include "fusion_matcher.h"

namespace edgedet::tflite {
namespace {

struct Operator {
  const TfLiteNode* node;
  int32_t code;

  template <typename Params>
  const Params& params() const {
    return *static_cast<const Params*>(node->builtin_data);
  }
  int input(int i) const { return node->inputs->data[i]; }
  int output() const { return node->outputs->data[0]; }
};

constexpr int32_t kNoOperator = -1;

// Walks from one ADD to all that belongs to its fusion.
class Matcher {
 public:
  Matcher(TfLiteContext* context, const Wiring& wiring, FusionNode* found, Buffer<int>* nodes)
      : context_(context), wiring_(wiring), found_(*found), nodes_(*nodes) {}

  bool Match(int add) {
    const Operator outermost = OperatorOf(add);
    if (outermost.code != kAdd || IsInner(outermost)) return false;
    found_ = {};
    nodes_.clear();
    resampled_or_scaled_ = rounds_between_ = false;
    if (!CollectSum(add) || !resampled_or_scaled_ || !FindActivation(outermost)) return false;
    return !(rounds_between_ && Tensor(found_.output).type == kTfLiteInt8);
  }

 private:
  Operator OperatorOf(int node_index) const {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (node_index < 0 ||
        context_->GetNodeAndRegistration(context_, node_index, &node, &registration) != kTfLiteOk) {
      return {nullptr, kNoOperator};
    }
    // Kernels of delegates have no parameters of the operator they name.
    if (node->delegate != nullptr || node->outputs->size != 1) return {nullptr, kNoOperator};
    return {node, registration->builtin_code};
  }

  const TfLiteTensor& Tensor(int index) const { return context_->tensors[index]; }

  bool ReadOnce(int tensor) const { return wiring_.readers[static_cast<size_t>(tensor)] == 1; }

  int Producer(int tensor) const { return wiring_.producer[static_cast<size_t>(tensor)]; }

  // Whether the outermost ADD is another one, which takes this one up.
  bool IsInner(const Operator& add) const {
    if (add.params<AddOrMulParams>().activation != kActNone || !ReadOnce(add.output())) {
      return false;
    }
    const int reader = wiring_.last_reader[static_cast<size_t>(add.output())];
    return OperatorOf(reader).code == kAdd && SameShape(OperatorOf(reader));
  }

  // Both operands of the sum's own shape: nothing is broadcast.
  bool SameShape(const Operator& add) const {
    const TfLiteIntArray* wanted = Tensor(add.output()).dims;
    for (int i = 0; i < 2; ++i) {
      const TfLiteIntArray* dims = Tensor(add.input(i)).dims;
      if (wanted->size != 4 || dims->size != 4) return false;
      for (int axis = 0; axis < 4; ++axis) {
        if (dims->data[axis] != wanted->data[axis]) return false;
      }
    }
    return true;
  }

  bool CollectSum(int add_index) {
    const Operator add = OperatorOf(add_index);
    if (!SameShape(add) || !nodes_.push_back(add_index)) return false;
    for (int i = 0; i < 2; ++i) {
      const int tensor = add.input(i);
      const Operator operand = OperatorOf(ReadOnce(tensor) ? Producer(tensor) : -1);
      const bool sum = operand.code == kAdd && SameShape(operand) &&
                       operand.params<AddOrMulParams>().activation == kActNone;
      if (sum) rounds_between_ = true;
      if (sum ? !CollectSum(Producer(tensor)) : !CollectLeaf(tensor)) return false;
    }
    return true;
  }

  bool CollectLeaf(int tensor) {
    if (found_.leaf_count == kMaxFusionInputs) return false;
    FusionLeaf leaf = {tensor, 1.0f, 1, 0};
    while (ReadOnce(leaf.tensor)) {
      const int producer = Producer(leaf.tensor);
      const Operator before = OperatorOf(producer);
      // A factor before pooling can't be moved behind it: it may be negative.
      const bool taken = (before.code == kMul && leaf.halvings == 0 && TakeFactor(before, &leaf)) ||
                         (before.code == kMaxPool2d && TakePooling(before, &leaf)) ||
                         (before.code == kResizeNearestNeighbor && TakeResizing(before, &leaf));
      if (!taken) break;
      resampled_or_scaled_ = true;
      if (before.code == kMul) rounds_between_ = true;
      if (!nodes_.push_back(producer)) return false;
    }
    found_.leaves[found_.leaf_count++] = leaf;
    return true;
  }

  bool TakeFactor(const Operator& mul, FusionLeaf* leaf) const {
    if (mul.params<AddOrMulParams>().activation != kActNone) return false;
    for (int i = 0; i < 2; ++i) {
      const TfLiteTensor& constant = Tensor(mul.input(i));
      const size_t element = constant.type == kTfLiteFloat32 ? sizeof(float) : 1;
      if (constant.allocation_type != kTfLiteMmapRo || constant.data == nullptr ||
          constant.bytes != element ||
          (constant.type != kTfLiteFloat32 && constant.type != kTfLiteInt8)) {
        continue;
      }
      float value;
      if (constant.type == kTfLiteFloat32) {
        value = *static_cast<const float*>(constant.data);
      } else {
        const int32_t stored = *static_cast<const int8_t*>(constant.data);
        value = static_cast<float>(stored - constant.params.zero_point) * constant.params.scale;
      }
      leaf->factor *= value;
      leaf->tensor = mul.input(1 - i);
      return true;
    }
    return false;
  }

  bool TakePooling(const Operator& pool, FusionLeaf* leaf) const {
    const auto& params = pool.params<PoolParams>();
    if (leaf->repeat != 1 || params.padding != kPaddingSame || params.stride_height != 2 ||
        params.stride_width != 2 || params.filter_height != 3 || params.filter_width != 3 ||
        params.activation != kActNone || !SameQuantization(pool)) {
      return false;
    }
    ++leaf->halvings;
    leaf->tensor = pool.input(0);
    return true;
  }

  bool TakeResizing(const Operator& resize, FusionLeaf* leaf) const {
    if (leaf->repeat != 1 || leaf->halvings != 0 ||
        resize.params<ResizeNearestParams>().align_corners || !SameQuantization(resize)) {
      return false;
    }
    const TfLiteIntArray* from = Tensor(resize.input(0)).dims;
    const TfLiteIntArray* to = Tensor(resize.output()).dims;
    if (from->size != 4 || to->size != 4 || from->data[1] < 1 || from->data[2] < 1) return false;
    const int factor = to->data[1] / from->data[1];
    if (factor < 2 || to->data[1] != factor * from->data[1] ||
        to->data[2] != factor * from->data[2]) {
      return false;
    }
    leaf->repeat = factor;
    leaf->tensor = resize.input(0);
    return true;
  }

  bool SameQuantization(const Operator& moving) const {
    const TfLiteQuantizationParams& from = Tensor(moving.input(0)).params;
    const TfLiteQuantizationParams& to = Tensor(moving.output()).params;
    return from.scale == to.scale && from.zero_point == to.zero_point;
  }

  bool FindActivation(const Operator& add) {
    found_.output = add.output();
    switch (add.params<AddOrMulParams>().activation) {
      case kActNone:
        return TakeActivationBehind(add.output());
      case kActRelu:
        found_.activation = Activation::kRelu;
        return true;
      case kActRelu6:
        found_.activation = Activation::kRelu6;
        return true;
    }
    return false;
  }

  bool TakeActivationBehind(int sum) {
    const int reader = wiring_.last_reader[static_cast<size_t>(sum)];
    const Operator behind = OperatorOf(reader);
    if (ReadOnce(sum)) {
      switch (behind.code) {
        case kRelu:
          return Take(reader, Activation::kRelu);
        case kRelu6:
          return Take(reader, Activation::kRelu6);
        case kHardSwish:
          return Take(reader, Activation::kHardSwish);
        default:
          return true;
      }
    }
    // Swish is x * logistic(x).
    if (wiring_.readers[static_cast<size_t>(sum)] != 2 || behind.code != kMul ||
        behind.params<AddOrMulParams>().activation != kActNone) {
      return true;
    }
    const int gate = behind.input(behind.input(0) == sum ? 1 : 0);
    const Operator logistic = OperatorOf(Producer(gate));
    if (logistic.code != kLogistic || logistic.input(0) != sum || !ReadOnce(gate)) return true;
    return nodes_.push_back(Producer(gate)) && Take(reader, Activation::kSwish);
  }

  bool Take(int node_index, Activation activation) {
    rounds_between_ = true;
    found_.activation = activation;
    found_.output = OperatorOf(node_index).output();
    return nodes_.push_back(node_index);
  }

  TfLiteContext* context_;
  const Wiring& wiring_;
  FusionNode& found_;
  Buffer<int>& nodes_;
  bool resampled_or_scaled_ = false;
  bool rounds_between_ = false;
};

}  // namespace

bool Wiring::Read(TfLiteContext* context) {
  const size_t count = context->tensors_size;
  TfLiteIntArray* plan = nullptr;
  if (!producer.resize(count) || !readers.resize(count) || !last_reader.resize(count) ||
      context->GetExecutionPlan(context, &plan) != kTfLiteOk) {
    return false;
  }
  for (size_t i = 0; i < count; ++i) {
    producer[i] = last_reader[i] = -1;
    readers[i] = 0;
  }
  for (int i = 0; i < plan->size; ++i) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    const int index = plan->data[i];
    if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk) {
      return false;
    }
    for (int k = 0; k < node->outputs->size; ++k) {
      producer[static_cast<size_t>(node->outputs->data[k])] = index;
    }
    for (int k = 0; k < node->inputs->size; ++k) {
      if (node->inputs->data[k] < 0) continue;  // an optional input left out
      const auto tensor = static_cast<size_t>(node->inputs->data[k]);
      ++readers[tensor];
      last_reader[tensor] = index;
    }
  }
  return true;
}

bool MatchFusion(TfLiteContext* context, const Wiring& wiring, int add, FusionNode* found,
                 Buffer<int>* nodes) {
  return Matcher(context, wiring, found, nodes).Match(add);
}

bool Describe(const TfLiteContext* context, const FusionNode& node, FusionInput* inputs,
              FusionOptions* options) {
  const TfLiteTensor& out = context->tensors[node.output];
  if ((out.type != kTfLiteFloat32 && out.type != kTfLiteInt8) || out.dims->size != 4 ||
      out.dims->data[0] != 1) {
    return false;
  }
  options->height = out.dims->data[1];
  options->width = out.dims->data[2];
  options->channels = out.dims->data[3];
  options->type = out.type == kTfLiteInt8 ? ElementType::kInt8 : ElementType::kFloat32;
  options->activation = node.activation;
  options->scale = out.params.scale;
  options->zero_point = out.params.zero_point;
  for (int32_t i = 0; i < node.leaf_count; ++i) {
    const FusionLeaf& leaf = node.leaves[i];
    const TfLiteTensor& tensor = context->tensors[leaf.tensor];
    if (tensor.type != out.type || tensor.dims->size != 4 || tensor.dims->data[0] != 1 ||
        tensor.dims->data[3] != options->channels) {
      return false;
    }
    inputs[i] = {tensor.data,
                 tensor.dims->data[1],
                 tensor.dims->data[2],
                 {leaf.repeat, leaf.halvings},
                 {leaf.repeat, leaf.halvings},
                 leaf.factor,
                 tensor.params.scale,
                 tensor.params.zero_point};
  }
  return true;
}

}  // namespace edgedet::tflite
