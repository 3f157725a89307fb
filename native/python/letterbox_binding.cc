#include <array>
#include <string>
#include <vector>

#include "bindings.h"
#include "edgedet/letterbox.h"

namespace edgedet::python {
namespace {

namespace py = pybind11;

ColorFormat FormatOf(const std::string& name) {
  if (name == "rgb") return ColorFormat::kRgb;
  if (name == "gray") return ColorFormat::kGray;
  if (name == "bt601-full") return ColorFormat::kYuv420;
  if (name == "bt601-limited") return ColorFormat::kYuv420Limited;
  throw py::value_error("format must be rgb, gray, bt601-full or bt601-limited");
}

ImageView ViewOf(const std::vector<py::array>& planes, ColorFormat format) {
  const bool chroma = format == ColorFormat::kYuv420 || format == ColorFormat::kYuv420Limited;
  if (planes.size() != (format == ColorFormat::kGray ? 1 : 3)) {
    throw py::value_error("planes must be one for gray and three for every other format");
  }
  ImageView view = {};
  view.format = format;
  for (size_t i = 0; i < planes.size(); ++i) {
    const py::array& plane = planes[i];
    if (plane.ndim() != 2 || !py::isinstance<py::array_t<uint8_t>>(plane)) {
      throw py::value_error("planes must be uint8 of shape [H, W]");
    }
    if (i == 0) {
      view.height = plane.shape(0);
      view.width = plane.shape(1);
    }
    const bool halved = chroma && i > 0;
    if (plane.shape(0) != (halved ? (view.height + 1) / 2 : view.height) ||
        plane.shape(1) != (halved ? (view.width + 1) / 2 : view.width)) {
      throw py::value_error("planes must have shapes that fit each other");
    }
    view.planes[i] = {static_cast<const uint8_t*>(plane.data()), plane.strides(0),
                      plane.strides(1)};
  }
  return view;
}

double LetterboxInto(const std::vector<py::array>& planes, const std::string& format,
                     py::array& out, const std::array<float, 3>& mean,
                     const std::array<float, 3>& std, double scale, int32_t zero_point,
                     int32_t rotation, bool mirror) {
  const ImageView view = ViewOf(planes, FormatOf(format));
  if (out.ndim() != 3 || out.shape(2) != 3 || !(out.flags() & py::array::c_style)) {
    throw py::value_error("out must be C-contiguous of shape [height, width, 3]");
  }
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
  options.rotation = rotation;
  options.mirror = mirror;
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
  module.def("letterbox", &LetterboxInto, py::arg("planes"), py::arg("image_format"),
             py::arg("out"), py::arg("mean"), py::arg("std"), py::arg("scale"),
             py::arg("zero_point"), py::arg("rotation"), py::arg("mirror"));
}

}  // namespace edgedet::python
