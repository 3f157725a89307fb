#include <array>

#include "bindings.h"
#include "edgedet/letterbox.h"

namespace edgedet::python {
namespace {

namespace py = pybind11;

double LetterboxInto(const py::array& image, py::array& out, const std::array<float, 3>& mean,
                     const std::array<float, 3>& std, double scale, int32_t zero_point) {
  if (image.ndim() != 3 || image.shape(2) != 3 || !py::isinstance<py::array_t<uint8_t>>(image)) {
    throw py::value_error("image must be uint8 of shape [H, W, 3]");
  }
  if (out.ndim() != 3 || out.shape(2) != 3 || !(out.flags() & py::array::c_style)) {
    throw py::value_error("out must be C-contiguous of shape [height, width, 3]");
  }
  const ImageView view = {static_cast<const uint8_t*>(image.data()),
                          image.shape(0),
                          image.shape(1),
                          image.strides(0),
                          image.strides(1),
                          image.strides(2)};
  LetterboxOptions options = {};
  options.height = out.shape(0);
  options.width = out.shape(1);
  for (size_t channel = 0; channel < 3; ++channel) {
    options.mean[channel] = mean[channel];
    options.std[channel] = std[channel];
  }
  options.type = TypeOf(out, "out");
  options.scale = scale;
  options.zero_point = zero_point;
  void* tensor = out.mutable_data();  // throws unless writeable
  double ratio = 0.0;
  Status status;
  {
    py::gil_scoped_release release;
    status = Letterbox(view, options, tensor, &ratio);
  }
  Check(status, "letterbox");
  return ratio;
}

}  // namespace

void BindLetterbox(py::module_& module) {
  module.def("letterbox", &LetterboxInto, py::arg("image"), py::arg("out"), py::arg("mean"),
             py::arg("std"), py::arg("scale"), py::arg("zero_point"));
}

}  // namespace edgedet::python
