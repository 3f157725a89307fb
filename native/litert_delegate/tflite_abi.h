#ifndef EDGEDET_LITERT_DELEGATE_TFLITE_ABI_H_
#define EDGEDET_LITERT_DELEGATE_TFLITE_ABI_H_

#include <cstddef>
#include <cstdint>

// The binary interface of TensorFlow Lite (LiteRT) that an external delegate sees: names, order and
// sizes as in its C header `common.h`, of ai-edge-litert 2.3 and TensorFlow 2.21. Written down so
// that building needs no checkout of TensorFlow; what this delegate does not touch stays untyped.
extern "C" {

enum TfLiteStatus : int { kTfLiteOk = 0, kTfLiteError = 1, kTfLiteDelegateError = 2 };

enum TfLiteType : int { kTfLiteFloat32 = 1, kTfLiteInt8 = 9 };

enum TfLiteAllocationType : int { kTfLiteMmapRo = 1 };

// Bits of TfLiteDelegate::flags. Without this one the runtime freezes the graph, and its own
// XNNPACK delegate never gets the other operators.
constexpr int64_t kTfLiteDelegateFlagsAllowDynamicTensors = 1;

struct TfLiteContext;
struct TfLiteDelegate;
struct TfLiteRegistration;

struct TfLiteIntArray {
  int size;
  int data[];
};

struct TfLiteQuantizationParams {
  float scale;
  int32_t zero_point;
};

struct TfLiteTensor {
  TfLiteType type;
  void* data;
  TfLiteIntArray* dims;
  TfLiteQuantizationParams params;
  TfLiteAllocationType allocation_type;
  size_t bytes;
  const void* allocation;
  const char* name;
  TfLiteDelegate* delegate;
  int buffer_handle;
  bool data_is_stale;
  bool is_variable;
  struct {
    int type;
    void* params;
  } quantization;
  void* sparsity;
  const TfLiteIntArray* dims_signature;
};

struct TfLiteNode {
  TfLiteIntArray* inputs;
  TfLiteIntArray* outputs;
  TfLiteIntArray* intermediates;
  TfLiteIntArray* temporaries;
  void* user_data;
  void* builtin_data;
  const void* custom_initial_data;
  int custom_initial_data_size;
  TfLiteDelegate* delegate;
  bool might_have_side_effect;
};

struct TfLiteDelegateParams {
  TfLiteDelegate* delegate;
  TfLiteIntArray* nodes_to_replace;
  TfLiteIntArray* input_tensors;
  TfLiteIntArray* output_tensors;
};

struct TfLiteRegistration {
  void* (*init)(TfLiteContext* context, const char* buffer, size_t length);
  void (*free)(TfLiteContext* context, void* user_data);
  TfLiteStatus (*prepare)(TfLiteContext* context, TfLiteNode* node);
  TfLiteStatus (*invoke)(TfLiteContext* context, TfLiteNode* node);
  const char* (*profiling_string)(const TfLiteContext* context, const TfLiteNode* node);
  int32_t builtin_code;
  const char* custom_name;
  int version;
  void* registration_external;
  void* async_kernel;
  uint64_t inplace_operator;
};

struct TfLiteContext {
  size_t tensors_size;
  TfLiteStatus (*GetExecutionPlan)(TfLiteContext* context, TfLiteIntArray** execution_plan);
  TfLiteTensor* tensors;
  void* impl;
  void* resize_tensor;
  void (*ReportError)(TfLiteContext* context, const char* format, ...);
  void* add_tensors;
  TfLiteStatus (*GetNodeAndRegistration)(TfLiteContext* context, int node_index, TfLiteNode** node,
                                         TfLiteRegistration** registration);
  TfLiteStatus (*ReplaceNodeSubsetsWithDelegateKernels)(TfLiteContext* context,
                                                        TfLiteRegistration registration,
                                                        const TfLiteIntArray* nodes_to_replace,
                                                        TfLiteDelegate* delegate);
  int recommended_num_threads;
  void* get_external_context;
  void* set_external_context;
  bool allow_fp32_relax_to_fp16;
  void* profiler;
  void* allocate_persistent_buffer;
  void* allocate_buffer_for_eval;
  void* request_scratch_buffer_in_arena;
  void* get_scratch_buffer;
  void* resize_tensor_explicit;
  // The parameters stay the runtime's, until the next call or the end of the delegate's Prepare.
  TfLiteStatus (*PreviewDelegatePartitioning)(TfLiteContext* context,
                                              const TfLiteIntArray* nodes_to_replace,
                                              TfLiteDelegateParams** partitions, int* count);
  // More follows, which nothing here may rely on.
};

struct TfLiteDelegate {
  void* data;
  TfLiteStatus (*Prepare)(TfLiteContext* context, TfLiteDelegate* delegate);
  void* copy_from_buffer_handle;
  void* copy_to_buffer_handle;
  void* free_buffer_handle;
  int64_t flags;
  void* opaque_delegate_builder;
};

}  // extern "C"

namespace edgedet::tflite {

// BuiltinOperator of the model format's schema.
enum Builtin : int32_t {
  kAdd = 0,
  kLogistic = 14,
  kMaxPool2d = 17,
  kMul = 18,
  kRelu = 19,
  kRelu6 = 21,
  kResizeNearestNeighbor = 97,
  kHardSwish = 117,
};

enum FusedActivation : int { kActNone = 0, kActRelu = 1, kActRelu6 = 3 };
enum Padding : int { kPaddingSame = 1 };

// What `builtin_data` points to, each as far as it is read.
struct AddOrMulParams {
  FusedActivation activation;
};
struct PoolParams {
  Padding padding;
  int stride_width;
  int stride_height;
  int filter_width;
  int filter_height;
  FusedActivation activation;
};
struct ResizeNearestParams {
  bool align_corners;
  bool half_pixel_centers;
};

// 64-bit machines; others have no wheel of LiteRT.
static_assert(sizeof(void*) == 8 && sizeof(TfLiteType) == 4 && sizeof(TfLiteAllocationType) == 4);
static_assert(offsetof(TfLiteTensor, data) == 8 && offsetof(TfLiteTensor, dims) == 16);
static_assert(offsetof(TfLiteTensor, params) == 24 &&
              offsetof(TfLiteTensor, allocation_type) == 32 && offsetof(TfLiteTensor, bytes) == 40);
static_assert(offsetof(TfLiteTensor, quantization) == 80 && sizeof(TfLiteTensor) == 112);
static_assert(offsetof(TfLiteNode, user_data) == 32 && offsetof(TfLiteNode, builtin_data) == 40);
static_assert(sizeof(TfLiteNode) == 80 && sizeof(TfLiteDelegateParams) == 32);
static_assert(offsetof(TfLiteRegistration, builtin_code) == 40 &&
              offsetof(TfLiteRegistration, custom_name) == 48 && sizeof(TfLiteRegistration) == 88);
static_assert(offsetof(TfLiteContext, tensors) == 16 &&
              offsetof(TfLiteContext, GetNodeAndRegistration) == 56 &&
              offsetof(TfLiteContext, ReplaceNodeSubsetsWithDelegateKernels) == 64 &&
              offsetof(TfLiteContext, PreviewDelegatePartitioning) == 152);
static_assert(offsetof(TfLiteDelegate, flags) == 40 && sizeof(TfLiteDelegate) == 56);

}  // namespace edgedet::tflite

#endif  // EDGEDET_LITERT_DELEGATE_TFLITE_ABI_H_
