#include "edgedet/fusion.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "dispatch.h"
#include "edgedet/buffer.h"
#include "kernels/fusion_kernels.h"

namespace edgedet {
namespace {

using kernels::FusionRange;
using kernels::FusionStore;
using kernels::FusionTerm;

constexpr int32_t kMaxHalvings = 30;

void Fuse(const FusionTerm<float>* terms, size_t count, Activation activation, const FusionStore&,
          size_t elements, float* out) {
  ActiveKernels().fusion->fuse_f32(terms, count, activation, elements, out);
}
void Fuse(const FusionTerm<int8_t>* terms, size_t count, Activation activation,
          const FusionStore& store, size_t elements, int8_t* out) {
  ActiveKernels().fusion->fuse_i8(terms, count, activation, store, elements, out);
}

void TakeLarger(const float* other, size_t count, float* larger) {
  ActiveKernels().fusion->max_f32(other, count, larger);
}
void TakeLarger(const int8_t* other, size_t count, int8_t* larger) {
  ActiveKernels().fusion->max_i8(other, count, larger);
}

int32_t Halved(int32_t size) { return size - size / 2; }

// Elements of an axis of `size` that output `index` sees: one, or the window of all poolings taken
// together, which is an interval because windows of 3 overlap at stride 2.
FusionRange WindowOf(int32_t size, const AxisResampling& axis, int32_t index) {
  if (axis.halvings == 0) return {index / axis.repeat, index / axis.repeat + 1};
  int32_t sizes[kMaxHalvings];
  for (int32_t step = 0; step < axis.halvings; ++step) {
    sizes[step] = size;
    size = Halved(size);
  }
  FusionRange window = {index, index + 1};
  for (int32_t step = axis.halvings - 1; step >= 0; --step) {
    // "Same" padding puts one element before an axis of odd size, none before an even one.
    const int32_t before = sizes[step] % 2;
    window.begin = std::max(2 * window.begin - before, 0);
    window.end = std::min(2 * (window.end - 1) - before + 3, sizes[step]);
  }
  return window;
}

bool Fits(int32_t size, const AxisResampling& axis, int32_t target) {
  if (size < 1 || axis.repeat < 1 || axis.halvings < 0 || axis.halvings > kMaxHalvings) {
    return false;
  }
  if (axis.halvings == 0) {
    return (int64_t{target} + axis.repeat - 1) / axis.repeat == size;
  }
  for (int32_t step = 0; step < axis.halvings; ++step) size = Halved(size);
  return axis.repeat == 1 && size == target;
}

bool Small(int32_t height, int32_t width, int32_t channels) {
  int64_t elements = 1;
  for (const int64_t side : {height, width, channels}) {
    if (side < 1 || elements > kMaxFusionElements / side) return false;
    elements *= side;
  }
  return true;
}

// The rows of one input at the fused map's size.
template <typename T>
class ResampledRows {
 public:
  [[nodiscard]] bool Init(const FusionInput& input, const FusionOptions& fused) {
    input_ = input;
    width_ = fused.width;
    channels_ = static_cast<size_t>(fused.channels);
    row_elements_ = static_cast<size_t>(input.width) * channels_;
    columns_change_ = input.columns.repeat > 1 || input.columns.halvings > 0;
    if (input.rows.halvings > 0 && !pooled_.resize(row_elements_)) return false;
    if (!columns_change_) return true;
    if (!windows_.resize(static_cast<size_t>(width_))) return false;
    for (int32_t x = 0; x < width_; ++x) {
      windows_[static_cast<size_t>(x)] = WindowOf(input.width, input.columns, x);
    }
    return fitted_.resize(static_cast<size_t>(width_) * channels_);
  }

  // Valid until the next call.
  const T* Row(int32_t y) {
    const FusionRange rows = WindowOf(input_.height, input_.rows, y);
    // Rows that repeat are resampled once.
    if (columns_change_ && rows.begin == rows_.begin && rows.end == rows_.end) {
      return fitted_.data();
    }
    rows_ = rows;
    const T* source = static_cast<const T*>(input_.data) + RowOffset(rows.begin);
    if (input_.rows.halvings > 0) {
      std::memcpy(pooled_.data(), source, row_elements_ * sizeof(T));
      for (int32_t row = rows.begin + 1; row < rows.end; ++row) {
        source += row_elements_;
        TakeLarger(source, row_elements_, pooled_.data());
      }
      source = pooled_.data();
    }
    if (!columns_change_) return source;
    T* target = fitted_.data();
    for (const FusionRange& window : windows_) {
      const T* pixel = source + static_cast<size_t>(window.begin) * channels_;
      std::memcpy(target, pixel, channels_ * sizeof(T));
      for (int32_t column = window.begin + 1; column < window.end; ++column) {
        pixel += channels_;
        TakeLarger(pixel, channels_, target);
      }
      target += channels_;
    }
    return fitted_.data();
  }

 private:
  size_t RowOffset(int32_t row) const { return static_cast<size_t>(row) * row_elements_; }

  FusionInput input_ = {};
  int32_t width_ = 0;
  size_t channels_ = 0;
  size_t row_elements_ = 0;
  bool columns_change_ = false;
  FusionRange rows_ = {-1, -1};
  Buffer<FusionRange> windows_;
  Buffer<T> pooled_;
  Buffer<T> fitted_;
};

template <typename T>
Status FuseRows(const FusionInput* inputs, int32_t count, const FusionOptions& options, T* out) {
  const bool quantized = options.type == ElementType::kInt8;
  ResampledRows<T> sources[kMaxFusionInputs];
  FusionTerm<T> terms[kMaxFusionInputs];
  for (int32_t i = 0; i < count; ++i) {
    if (!sources[i].Init(inputs[i], options)) return Status::kOutOfMemory;
    const float factor = quantized ? inputs[i].weight * inputs[i].scale : inputs[i].weight;
    if (!std::isfinite(factor)) return Status::kInvalidArgument;
    terms[i] = {nullptr, factor, inputs[i].zero_point};
  }
  FusionStore store = {};
  if (quantized) {
    store.gain = static_cast<float>(1.0 / static_cast<double>(options.scale));
    if (!std::isfinite(store.gain)) return Status::kInvalidArgument;
    store.low = static_cast<float>(-128 - options.zero_point);
    store.high = static_cast<float>(127 - options.zero_point);
    store.zero_point = options.zero_point;
  }
  const size_t row = static_cast<size_t>(options.width) * static_cast<size_t>(options.channels);
  for (int32_t y = 0; y < options.height; ++y, out += row) {
    for (int32_t i = 0; i < count; ++i) terms[i].values = sources[i].Row(y);
    Fuse(terms, static_cast<size_t>(count), options.activation, store, row, out);
  }
  return Status::kOk;
}

bool ValidScale(float scale, int32_t zero_point) {
  return scale > 0.0f && std::isfinite(scale) && zero_point >= -128 && zero_point <= 127;
}

bool Valid(const FusionInput* inputs, int32_t count, const FusionOptions& options) {
  const bool quantized = options.type == ElementType::kInt8;
  if (inputs == nullptr || count < 1 || count > kMaxFusionInputs ||
      !(quantized || options.type == ElementType::kFloat32) ||
      !Small(options.height, options.width, options.channels) ||
      (quantized && !ValidScale(options.scale, options.zero_point))) {
    return false;
  }
  return std::all_of(inputs, inputs + count, [&](const FusionInput& input) {
    return input.data != nullptr && std::isfinite(input.weight) &&
           Small(input.height, input.width, options.channels) &&
           Fits(input.height, input.rows, options.height) &&
           Fits(input.width, input.columns, options.width) &&
           (!quantized || ValidScale(input.scale, input.zero_point));
  });
}

}  // namespace

bool NormalizeFusionWeights(const float* weights, int32_t count, float epsilon, float* normalized) {
  float sum = 0.0f;
  for (int32_t i = 0; i < count; ++i) {
    normalized[i] = std::max(weights[i], 0.0f);
    sum += normalized[i];
  }
  sum += epsilon;
  if (!(sum > 0.0f) || !std::isfinite(sum)) return false;
  for (int32_t i = 0; i < count; ++i) normalized[i] /= sum;
  return true;
}

Status WeightedFusion(const FusionInput* inputs, int32_t count, const FusionOptions& options,
                      void* out) {
  if (out == nullptr || !Valid(inputs, count, options)) return Status::kInvalidArgument;
  if (options.type == ElementType::kInt8) {
    return FuseRows(inputs, count, options, static_cast<int8_t*>(out));
  }
  return FuseRows(inputs, count, options, static_cast<float*>(out));
}

}  // namespace edgedet
