#include <optional>

#include "bindings.h"
#include "edgedet/boxes.h"
#include "edgedet/nms.h"
#include "edgedet/soft_nms.h"

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

// The arguments that hard and soft suppression share.
struct Candidates {
  Candidates(const Packed<float>& boxes, const Packed<float>& scores,
             const std::optional<Packed<int64_t>>& class_ids)
      : count(boxes.ndim() > 0 ? boxes.shape(0) : 0) {
    CheckRows(boxes, count, 4, "boxes");
    CheckRows(scores, count, 1, "scores");
    if (class_ids) CheckRows(*class_ids, count, 1, "class_ids");
    box = reinterpret_cast<const Box*>(boxes.data());
    score = scores.data();
    class_id = class_ids ? class_ids->data() : nullptr;
  }

  int64_t count;
  const Box* box;
  const float* score;
  const int64_t* class_id;
};

template <typename T>
py::array_t<T> ArrayOf(const Buffer<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::array_t<int64_t> KeptIndices(const Packed<float>& boxes, const Packed<float>& scores,
                                 const std::optional<Packed<int64_t>>& class_ids,
                                 float iou_threshold, float score_threshold,
                                 int64_t max_detections) {
  const Candidates from(boxes, scores, class_ids);
  const NmsOptions options = {iou_threshold, score_threshold, max_detections};
  Buffer<int64_t> kept;
  Status status;
  {
    py::gil_scoped_release release;
    status = Nms(from.box, from.score, from.class_id, from.count, options, &kept);
  }
  Check(status, "nms");
  return ArrayOf(kept);
}

py::tuple SelectSoftly(const Packed<float>& boxes, const Packed<float>& scores,
                       const std::optional<Packed<int64_t>>& class_ids, bool gaussian, float sigma,
                       float iou_threshold, float score_threshold, int64_t max_detections) {
  const Candidates from(boxes, scores, class_ids);
  const SoftNmsOptions options = {gaussian ? SoftNmsMethod::kGaussian : SoftNmsMethod::kLinear,
                                  sigma, iou_threshold, score_threshold, max_detections};
  Buffer<int64_t> selected;
  Buffer<float> rescored;
  Status status;
  {
    py::gil_scoped_release release;
    status =
        SoftNms(from.box, from.score, from.class_id, from.count, options, &selected, &rescored);
  }
  Check(status, "soft_nms");
  return py::make_tuple(ArrayOf(selected), ArrayOf(rescored));
}

}  // namespace

void BindBoxes(py::module_& module) {
  module.def("decode", &DecodeAll, py::arg("codes").noconvert(), py::arg("anchors").noconvert());
  module.def("nms", &KeptIndices, py::arg("boxes").noconvert(), py::arg("scores").noconvert(),
             py::arg("class_ids").noconvert(), py::arg("iou_threshold"), py::arg("score_threshold"),
             py::arg("max_detections"));
  module.def("soft_nms", &SelectSoftly, py::arg("boxes").noconvert(), py::arg("scores").noconvert(),
             py::arg("class_ids").noconvert(), py::arg("gaussian"), py::arg("sigma"),
             py::arg("iou_threshold"), py::arg("score_threshold"), py::arg("max_detections"));
}

}  // namespace edgedet::python
