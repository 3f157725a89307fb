#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings.h"
#include "edgedet/fusion.h"

namespace edgedet::python {
namespace {

namespace py = pybind11;

using Quantization = std::pair<float, int32_t>;  // scale, zero point
using Axis = std::pair<int32_t, int32_t>;        // repeat, halvings
using Packed = std::vector<py::array>;

// The sides of a packed map [height, width, channels].
void CheckMap(const py::array& array, ElementType type, const char* name) {
  if (array.ndim() != 3 || !(array.flags() & py::array::c_style) || TypeOf(array, name) != type) {
    throw py::value_error(std::string(name) + " must be C-contiguous, of one type and [H, W, C]");
  }
  for (int axis = 0; axis < 3; ++axis) {
    if (array.shape(axis) < 1 || array.shape(axis) > kMaxFusionElements) {
      throw py::value_error(std::string(name) + " must not be empty or huge");
    }
  }
}

Activation ActivationOf(const std::string& name) {
  if (name == "none") return Activation::kNone;
  if (name == "relu") return Activation::kRelu;
  if (name == "relu6") return Activation::kRelu6;
  if (name == "swish") return Activation::kSwish;
  if (name == "hard_swish") return Activation::kHardSwish;
  throw py::value_error("activation is unknown");
}

void FuseInto(const Packed& arrays, const std::vector<std::pair<Axis, Axis>>& resampling,
              const std::vector<float>& weights, float epsilon, const std::string& activation,
              const std::vector<Quantization>& quantization, const Quantization& out_quantization,
              py::array& out) {
  const size_t count = arrays.size();
  if (count < 1 || count > kMaxFusionInputs || resampling.size() != count ||
      weights.size() != count || quantization.size() != count) {
    throw py::value_error("every list must have one entry per input");
  }
  const ElementType type = TypeOf(out, "out");
  CheckMap(out, type, "out");
  float normalized[kMaxFusionInputs];
  if (!NormalizeFusionWeights(weights.data(), static_cast<int32_t>(count), epsilon, normalized)) {
    throw py::value_error("weights must have a positive sum");
  }
  FusionInput inputs[kMaxFusionInputs] = {};
  for (size_t i = 0; i < count; ++i) {
    CheckMap(arrays[i], type, "inputs");
    if (arrays[i].shape(2) != out.shape(2)) {
      throw py::value_error("inputs must have as many channels as out");
    }
    const auto& [rows, columns] = resampling[i];
    inputs[i].data = arrays[i].data();
    inputs[i].height = static_cast<int32_t>(arrays[i].shape(0));
    inputs[i].width = static_cast<int32_t>(arrays[i].shape(1));
    inputs[i].rows = {rows.first, rows.second};
    inputs[i].columns = {columns.first, columns.second};
    inputs[i].weight = normalized[i];
    inputs[i].scale = quantization[i].first;
    inputs[i].zero_point = quantization[i].second;
  }
  FusionOptions options = {};
  options.height = static_cast<int32_t>(out.shape(0));
  options.width = static_cast<int32_t>(out.shape(1));
  options.channels = static_cast<int32_t>(out.shape(2));
  options.type = type;
  options.activation = ActivationOf(activation);
  options.scale = out_quantization.first;
  options.zero_point = out_quantization.second;
  void* fused = out.mutable_data();  // throws unless writeable
  Status status;
  {
    py::gil_scoped_release release;
    status = WeightedFusion(inputs, static_cast<int32_t>(count), options, fused);
  }
  Check(status, "weighted_fusion");
}

}  // namespace

void BindFusion(py::module_& module) {
  module.def("weighted_fusion", &FuseInto, py::arg("inputs"), py::arg("resampling"),
             py::arg("weights"), py::arg("epsilon"), py::arg("activation"), py::arg("quantization"),
             py::arg("out_quantization"), py::arg("out"));
}

}  // namespace edgedet::python
