#include <optional>

#include "bindings.h"
#include "edgedet/boxes.h"
#include "edgedet/nms.h"

namespace edgedet::python {
namespace {

namespace py = pybind11;

// Boxes, codes and anchors are four floats each, without padding.
static_assert(sizeof(Box) == 16 && sizeof(BoxCode) == 16 && sizeof(Anchor) == 16);

// forcecast is left out: what is not of this type already is refused by pybind11.
template <typename T>
using Packed = py::array_t<T, py::array::c_style>;

void CheckRows(const py::array& array, py::ssize_t count, py::ssize_t columns, const char* name) {
  const bool fits =
      columns == 1 ? array.ndim() == 1 : array.ndim() == 2 && array.shape(1) == columns;
  if (!fits || array.shape(0) != count) {
    throw py::value_error(std::string(name) + " has the wrong shape");
  }
}

py::array_t<float> DecodeAll(const Packed<float>& codes, const Packed<float>& anchors) {
  const py::ssize_t count = codes.ndim() > 0 ? codes.shape(0) : 0;
  CheckRows(codes, count, 4, "codes");
  CheckRows(anchors, count, 4, "anchors");
  py::array_t<float> boxes({count, py::ssize_t{4}});
  const auto* code = reinterpret_cast<const BoxCode*>(codes.data());
  const auto* anchor = reinterpret_cast<const Anchor*>(anchors.data());
  auto* box = reinterpret_cast<Box*>(boxes.mutable_data());
  {
    py::gil_scoped_release release;
    for (py::ssize_t i = 0; i < count; ++i) box[i] = Decode(code[i], anchor[i]);
  }
  return boxes;
}

py::array_t<int64_t> KeptIndices(const Packed<float>& boxes, const Packed<float>& scores,
                                 const std::optional<Packed<int64_t>>& class_ids,
                                 float iou_threshold, float score_threshold,
                                 int64_t max_detections) {
  const py::ssize_t count = boxes.ndim() > 0 ? boxes.shape(0) : 0;
  CheckRows(boxes, count, 4, "boxes");
  CheckRows(scores, count, 1, "scores");
  if (class_ids) CheckRows(*class_ids, count, 1, "class_ids");
  const auto* box = reinterpret_cast<const Box*>(boxes.data());
  const float* score = scores.data();
  const int64_t* class_id = class_ids ? class_ids->data() : nullptr;
  const NmsOptions options = {iou_threshold, score_threshold, max_detections};
  Buffer<int64_t> kept;
  Status status;
  {
    py::gil_scoped_release release;
    status = Nms(box, score, class_id, count, options, &kept);
  }
  Check(status, "nms");
  return py::array_t<int64_t>(static_cast<py::ssize_t>(kept.size()), kept.data());
}

}  // namespace

void BindBoxes(py::module_& module) {
  module.def("decode", &DecodeAll, py::arg("codes").noconvert(), py::arg("anchors").noconvert());
  module.def("nms", &KeptIndices, py::arg("boxes").noconvert(), py::arg("scores").noconvert(),
             py::arg("class_ids").noconvert(), py::arg("iou_threshold"), py::arg("score_threshold"),
             py::arg("max_detections"));
}

}  // namespace edgedet::python
