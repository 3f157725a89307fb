// An external delegate of LiteRT (TensorFlow Lite) that runs each fusion node of a detector as one
// operator: `load_delegate("libedgedet_delegate.so")` in Python.

#include <cstdlib>
#include <cstring>
#include <new>

#include "edgedet/buffer.h"
#include "edgedet/fusion.h"
#include "fusion_matcher.h"
#include "tflite_abi.h"

namespace edgedet::tflite {
namespace {

constexpr char kName[] = "EdgeDetFusion";

// What TfLiteDelegate::data points to: the fusion that the runtime is asked to make a kernel of.
struct State {
  FusionNode next;
};

// Null makes prepare fail: this runtime has no other way to say so that all versions share.
void* Init(TfLiteContext*, const char* buffer, size_t) {
  const auto* params = reinterpret_cast<const TfLiteDelegateParams*>(buffer);
  const auto* state = static_cast<const State*>(params->delegate->data);
  return new (std::nothrow) FusionNode(state->next);
}

void Free(TfLiteContext*, void* user_data) { delete static_cast<FusionNode*>(user_data); }

TfLiteStatus PrepareKernel(TfLiteContext* context, TfLiteNode* node) {
  const auto* fusion = static_cast<const FusionNode*>(node->user_data);
  FusionInput inputs[kMaxFusionInputs];
  FusionOptions options;
  if (fusion == nullptr || !Describe(context, *fusion, inputs, &options)) {
    context->ReportError(context, "%s: the tensors of a fusion no longer fit together", kName);
    return kTfLiteError;
  }
  return kTfLiteOk;
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* node) {
  const auto* fusion = static_cast<const FusionNode*>(node->user_data);
  FusionInput inputs[kMaxFusionInputs];
  FusionOptions options;
  if (!Describe(context, *fusion, inputs, &options)) return kTfLiteError;
  void* out = context->tensors[fusion->output].data;
  const Status status = WeightedFusion(inputs, fusion->leaf_count, options, out);
  if (status == Status::kOk) return kTfLiteOk;
  context->ReportError(context, "%s: %s", kName,
                       status == Status::kOutOfMemory ? "out of memory" : "the tensors don't fit");
  return kTfLiteError;
}

// TensorFlow Lite's arrays end in their elements.
TfLiteIntArray* ArrayOf(const Buffer<int>& values) {
  const size_t bytes = values.size() * sizeof(int);
  auto* array = static_cast<TfLiteIntArray*>(std::malloc(sizeof(TfLiteIntArray) + bytes));
  if (array == nullptr) return nullptr;
  array->size = static_cast<int>(values.size());
  std::memcpy(array->data, values.data(), bytes);
  return array;
}

// Whether these operators come out as one kernel that nothing else needs anything from but its
// output: the graph's outputs, which a delegate isn't told, among it.
bool IsOneKernel(TfLiteContext* context, const TfLiteIntArray* nodes, int output) {
  TfLiteDelegateParams* partitions = nullptr;
  int count = 0;
  return context->PreviewDelegatePartitioning(context, nodes, &partitions, &count) == kTfLiteOk &&
         count == 1 && partitions[0].nodes_to_replace->size == nodes->size &&
         partitions[0].output_tensors->size == 1 && partitions[0].output_tensors->data[0] == output;
}

TfLiteStatus Replace(TfLiteContext* context, TfLiteDelegate* delegate, const FusionNode& fusion,
                     const Buffer<int>& nodes) {
  TfLiteIntArray* replaced = ArrayOf(nodes);
  if (replaced == nullptr) return kTfLiteError;
  TfLiteStatus status = kTfLiteOk;
  if (IsOneKernel(context, replaced, fusion.output)) {
    static_cast<State*>(delegate->data)->next = fusion;
    TfLiteRegistration registration = {};
    registration.init = Init;
    registration.free = Free;
    registration.prepare = PrepareKernel;
    registration.invoke = Invoke;
    registration.custom_name = kName;
    registration.version = 1;
    status =
        context->ReplaceNodeSubsetsWithDelegateKernels(context, registration, replaced, delegate);
  }
  std::free(replaced);
  return status;
}

// One call of the runtime for each fusion: asked for all at once, it would run the resampling of
// one fusion together with an earlier one, apart from its sum.
TfLiteStatus PrepareDelegate(TfLiteContext* context, TfLiteDelegate* delegate) {
  Wiring wiring;
  TfLiteIntArray* plan = nullptr;
  Buffer<int> order;
  if (!wiring.Read(context) || context->GetExecutionPlan(context, &plan) != kTfLiteOk) {
    return kTfLiteError;
  }
  int* copied = order.extend(static_cast<size_t>(plan->size));
  if (copied == nullptr) return kTfLiteError;
  std::memcpy(copied, plan->data, order.size() * sizeof(int));
  Buffer<int> nodes;
  for (const int index : order) {
    FusionNode fusion;
    FusionInput inputs[kMaxFusionInputs];
    FusionOptions options;
    if (!MatchFusion(context, wiring, index, &fusion, &nodes) ||
        !Describe(context, fusion, inputs, &options)) {
      continue;
    }
    const TfLiteStatus status = Replace(context, delegate, fusion, nodes);
    if (status != kTfLiteOk) return status;
  }
  return kTfLiteOk;
}

}  // namespace
}  // namespace edgedet::tflite

#define EDGEDET_EXPORT extern "C" __attribute__((visibility("default")))

// The two entry points that LiteRT looks up. There are no options.
EDGEDET_EXPORT TfLiteDelegate* tflite_plugin_create_delegate(const char* const*, const char* const*,
                                                             size_t option_count,
                                                             void (*report_error)(const char*)) {
  if (option_count > 0) {
    if (report_error != nullptr) report_error("EdgeDetFusion takes no options");
    return nullptr;
  }
  auto* delegate = static_cast<TfLiteDelegate*>(std::calloc(1, sizeof(TfLiteDelegate)));
  void* state = std::calloc(1, sizeof(edgedet::tflite::State));
  if (delegate == nullptr || state == nullptr) {
    std::free(delegate);
    std::free(state);
    return nullptr;
  }
  delegate->data = state;
  delegate->Prepare = edgedet::tflite::PrepareDelegate;
  delegate->flags = kTfLiteDelegateFlagsAllowDynamicTensors;
  return delegate;
}

EDGEDET_EXPORT void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  if (delegate == nullptr) return;
  std::free(delegate->data);
  std::free(delegate);
}
