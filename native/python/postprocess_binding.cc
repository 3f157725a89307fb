#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings.h"
#include "edgedet/postprocess.h"

namespace edgedet::python {
namespace {

namespace py = pybind11;

using Quantization = std::pair<float, int32_t>;  // scale, zero point
// Rows, columns, and pixels from each to the next.
using Grid = std::tuple<int32_t, int32_t, float, float>;
using Sizes = py::array_t<float, py::array::c_style>;

static_assert(sizeof(AnchorSize) == 8);

HeadMap MapOf(const py::array& array, const Quantization& quantization, const Grid& grid,
              int64_t channels, const char* name) {
  const int64_t locations = int64_t{std::get<0>(grid)} * std::get<1>(grid);
  const ElementType type = TypeOf(array, name);
  if (!(array.flags() & py::array::c_style) || std::get<0>(grid) < 1 || std::get<1>(grid) < 1 ||
      channels < 1 || channels > INT64_MAX / locations || array.size() != locations * channels) {
    throw py::value_error(std::string(name) + " must be C-contiguous and fit the grid");
  }
  return {array.data(), type, quantization.first, quantization.second};
}

Suppression SuppressionOf(const std::string& nms) {
  if (nms == "hard") return Suppression::kHard;
  if (nms == "soft-gaussian") return Suppression::kSoftGaussian;
  if (nms == "soft-linear") return Suppression::kSoftLinear;
  if (nms == "none") return Suppression::kNone;
  throw py::value_error("nms must be hard, soft-gaussian, soft-linear or none");
}

py::tuple Detect(const std::vector<py::array>& class_maps, const std::vector<py::array>& box_maps,
                 const std::vector<Quantization>& class_quantization,
                 const std::vector<Quantization>& box_quantization, const std::vector<Grid>& grids,
                 const std::vector<Sizes>& anchor_sizes, int32_t num_classes, float conf, float iou,
                 int64_t max_det, float ratio, float image_height, float image_width,
                 const std::string& nms, bool agnostic, float sigma, int64_t chunk) {
  const size_t count = class_maps.size();
  if (box_maps.size() != count || class_quantization.size() != count ||
      box_quantization.size() != count || grids.size() != count || anchor_sizes.size() != count ||
      count == 0) {
    throw py::value_error("every list must have one entry per level");
  }
  PostprocessOptions options = {};
  options.num_classes = num_classes;
  options.anchors_per_location =
      anchor_sizes[0].ndim() == 2 ? static_cast<int32_t>(anchor_sizes[0].shape(0)) : 0;
  options.score_threshold = conf;
  options.iou_threshold = iou;
  options.max_detections = max_det;
  options.ratio = ratio;
  options.image_height = image_height;
  options.image_width = image_width;
  options.suppression = SuppressionOf(nms);
  options.class_agnostic = agnostic;
  options.sigma = sigma;
  options.chunk = chunk;

  std::vector<Level> levels(count);
  for (size_t i = 0; i < count; ++i) {
    const Sizes& sizes = anchor_sizes[i];
    if (sizes.ndim() != 2 || sizes.shape(0) != options.anchors_per_location ||
        sizes.shape(1) != 2) {
      throw py::value_error("anchor_sizes must have shape [A, 2]");
    }
    const int64_t anchors = options.anchors_per_location;
    levels[i].classes =
        MapOf(class_maps[i], class_quantization[i], grids[i], anchors * num_classes, "class_maps");
    levels[i].boxes = MapOf(box_maps[i], box_quantization[i], grids[i], anchors * 4, "box_maps");
    std::tie(levels[i].rows, levels[i].columns, levels[i].stride_y, levels[i].stride_x) = grids[i];
    levels[i].anchors = reinterpret_cast<const AnchorSize*>(sizes.data());
  }

  Buffer<Detection> found;
  Status status;
  {
    // The vectors hold references to the arrays, whatever happens to the caller's lists.
    py::gil_scoped_release release;
    status = Postprocess(levels.data(), static_cast<int32_t>(count), options, &found);
  }
  Check(status, "postprocess");

  const auto size = static_cast<py::ssize_t>(found.size());
  py::array_t<float> boxes({size, py::ssize_t{4}});
  py::array_t<float> scores(size);
  py::array_t<int64_t> class_ids(size);
  float* box = boxes.mutable_data();
  float* score = scores.mutable_data();
  int64_t* class_id = class_ids.mutable_data();
  for (const Detection& detection : found) {
    *box++ = detection.box.x0;
    *box++ = detection.box.y0;
    *box++ = detection.box.x1;
    *box++ = detection.box.y1;
    *score++ = detection.score;
    *class_id++ = detection.class_id;
  }
  return py::make_tuple(boxes, scores, class_ids);
}

}  // namespace

void BindPostprocess(py::module_& module) {
  module.def("postprocess", &Detect, py::arg("class_maps"), py::arg("box_maps"),
             py::arg("class_quantization"), py::arg("box_quantization"), py::arg("grids"),
             py::arg("anchor_sizes"), py::arg("num_classes"), py::arg("conf"), py::arg("iou"),
             py::arg("max_det"), py::arg("ratio"), py::arg("image_height"), py::arg("image_width"),
             py::arg("nms"), py::arg("agnostic"), py::arg("sigma"), py::arg("chunk"));
}

}  // namespace edgedet::python
