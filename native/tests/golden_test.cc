#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "edgedet/boxes.h"
#include "edgedet/fusion.h"
#include "edgedet/letterbox.h"
#include "edgedet/nms.h"
#include "edgedet/postprocess.h"
#include "edgedet/soft_nms.h"
#include "golden_file.h"

// The NumPy reference's results, bit for bit: whatever machine and instruction set this runs on.
namespace edgedet {
namespace {

class GoldenTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    file_ = new GoldenFile();
    opened_ = file_->Open(EDGEDET_GOLDEN_DIRECTORY);
  }

  static void TearDownTestSuite() {
    delete file_;
    file_ = nullptr;
  }

  void SetUp() override { ASSERT_TRUE(opened_) << "no golden files in " EDGEDET_GOLDEN_DIRECTORY; }

  // Paths of the cases of one function, "12." for example.
  static std::vector<std::string> CasesOf(const std::string& function) {
    std::vector<std::string> paths;
    for (size_t i = 0; i < file_->CaseCount(); ++i) {
      const std::string path = std::to_string(i) + ".";
      if (file_->Text(path + "function") == function) paths.push_back(path);
    }
    return paths;
  }

  static float Option(const std::string& path, const char* name, double otherwise) {
    return static_cast<float>(file_->Number(path + "options." + name, otherwise));
  }

  static int64_t MaxDetections(const std::string& path, const char* name, int64_t otherwise) {
    const double given = file_->Number(path + "options." + name, -1);
    return given < 0 ? otherwise : static_cast<int64_t>(given);
  }

  static ElementType TypeOf(const std::string& dtype) {
    if (dtype == "int8") return ElementType::kInt8;
    if (dtype == "uint8") return ElementType::kUint8;
    return dtype == "int16" ? ElementType::kInt16 : ElementType::kFloat32;
  }

  // How many numbers of its type lie from one number to another.
  static double Steps(float a, float b) {
    const auto position = [](float value) {
      const auto bits = __builtin_bit_cast(uint32_t, value);
      return (bits >> 31) != 0 ? -static_cast<double>(bits & 0x7FFFFFFF)
                               : static_cast<double>(bits);
    };
    return std::fabs(position(a) - position(b));
  }
  template <typename T>
  static double Steps(T a, T b) {
    return std::fabs(static_cast<double>(a) - static_cast<double>(b));
  }

  template <typename T>
  static void ExpectOutput(const std::string& path, const char* name, const char* dtype,
                           const T* found, size_t count) {
    const double steps = file_->Number(path + "steps", 0);
    const GoldenArray array = file_->Array(path + "outputs." + name);
    ASSERT_NE(array.data, nullptr);
    ASSERT_EQ(array.dtype, dtype);
    ASSERT_EQ(static_cast<size_t>(array.Count()), count) << name;
    for (size_t i = 0; i < count; ++i) {
      const T expected = array.As<T>()[i];
      // Numbers, not bytes: a NaN has many.
      EXPECT_TRUE(found[i] == expected || (found[i] != found[i] && expected != expected) ||
                  (steps > 0 && Steps(found[i], expected) <= steps))
          << name << "[" << i << "] is " << +found[i] << ", not " << +expected;
    }
  }

  static void ExpectTensor(const std::string& path, const ImageView& image) {
    const std::string dtype = file_->Text(path + "options.dtype");
    LetterboxOptions options = {};
    options.height = static_cast<int64_t>(file_->Number(path + "options.size.0", 0));
    options.width = static_cast<int64_t>(file_->Number(path + "options.size.1", 0));
    for (int channel = 0; channel < 3; ++channel) {
      const std::string index = "." + std::to_string(channel);
      options.mean[channel] = Option(path, ("mean" + index).c_str(), 127.5);
      options.std[channel] = Option(path, ("std" + index).c_str(), 127.5);
    }
    options.type = TypeOf(dtype);
    options.scale = file_->Number(path + "options.scale", 1);
    options.zero_point = static_cast<int32_t>(file_->Number(path + "options.zero_point", 0));
    options.rotation = static_cast<int32_t>(file_->Number(path + "options.rotation", 0));
    options.mirror = file_->Text(path + "options.mirror") == "true";
    const auto count = static_cast<size_t>(options.height * options.width * 3);
    std::vector<float> tensor(count);  // room and alignment for every type
    double ratio = 0;
    ASSERT_EQ(Letterbox(image, options, tensor.data(), &ratio), Status::kOk);
    ExpectOutput(path, "ratio", "float64", &ratio, 1);
    if (dtype == "float32") {
      ExpectOutput(path, "tensor", "float32", tensor.data(), count);
    } else if (dtype == "int8") {
      ExpectOutput(path, "tensor", "int8", reinterpret_cast<int8_t*>(tensor.data()), count);
    } else {
      ExpectOutput(path, "tensor", "uint8", reinterpret_cast<uint8_t*>(tensor.data()), count);
    }
  }

  static GoldenFile* file_;
  static bool opened_;
};

GoldenFile* GoldenTest::file_ = nullptr;
bool GoldenTest::opened_ = false;

TEST_F(GoldenTest, EveryFunctionHasCasesAndEveryCaseIsOfOne) {
  size_t cases = 0;
  for (const char* function : {"decode", "letterbox", "letterbox_yuv", "nms", "postprocess",
                               "soft_nms", "weighted_fusion"}) {
    EXPECT_FALSE(CasesOf(function).empty()) << function;
    cases += CasesOf(function).size();
  }
  EXPECT_EQ(cases, file_->CaseCount());
}

TEST_F(GoldenTest, Nms) {
  for (const std::string& path : CasesOf("nms")) {
    SCOPED_TRACE(file_->Text(path + "name"));
    const GoldenArray boxes = file_->Array(path + "inputs.boxes");
    const GoldenArray scores = file_->Array(path + "inputs.scores");
    NmsOptions options;
    options.iou_threshold = Option(path, "iou_threshold", 0);
    options.score_threshold = Option(path, "score_threshold", options.score_threshold);
    options.max_detections = MaxDetections(path, "max_detections", options.max_detections);
    Buffer<int64_t> kept;
    ASSERT_EQ(
        Nms(boxes.As<Box>(), scores.As<float>(),
            file_->Array(path + "inputs.class_ids").As<int64_t>(), scores.Count(), options, &kept),
        Status::kOk);
    ExpectOutput(path, "kept", "int64", kept.data(), kept.size());
  }
}

TEST_F(GoldenTest, SoftNms) {
  for (const std::string& path : CasesOf("soft_nms")) {
    SCOPED_TRACE(file_->Text(path + "name"));
    const GoldenArray scores = file_->Array(path + "inputs.scores");
    SoftNmsOptions options;
    options.method = file_->Text(path + "options.method") == "linear" ? SoftNmsMethod::kLinear
                                                                      : SoftNmsMethod::kGaussian;
    options.sigma = Option(path, "sigma", options.sigma);
    options.iou_threshold = Option(path, "iou_threshold", options.iou_threshold);
    options.score_threshold = Option(path, "score_threshold", options.score_threshold);
    options.max_detections = MaxDetections(path, "max_detections", options.max_detections);
    Buffer<int64_t> selected;
    Buffer<float> rescored;
    ASSERT_EQ(SoftNms(file_->Array(path + "inputs.boxes").As<Box>(), scores.As<float>(),
                      file_->Array(path + "inputs.class_ids").As<int64_t>(), scores.Count(),
                      options, &selected, &rescored),
              Status::kOk);
    ExpectOutput(path, "indices", "int64", selected.data(), selected.size());
    ExpectOutput(path, "rescored", "float32", rescored.data(), rescored.size());
  }
}

TEST_F(GoldenTest, Decode) {
  for (const std::string& path : CasesOf("decode")) {
    SCOPED_TRACE(file_->Text(path + "name"));
    const GoldenArray codes = file_->Array(path + "inputs.codes");
    const GoldenArray anchors = file_->Array(path + "inputs.anchors");
    std::vector<Box> boxes;
    for (int64_t i = 0; i < codes.shape[0]; ++i) {
      boxes.push_back(Decode(codes.As<BoxCode>()[i], anchors.As<Anchor>()[i]));
    }
    ExpectOutput(path, "boxes", "float32", &boxes[0].x0, 4 * boxes.size());
  }
}

TEST_F(GoldenTest, Postprocess) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const std::string& path : CasesOf("postprocess")) {
    SCOPED_TRACE(file_->Text(path + "name"));
    const GoldenArray sizes = file_->Array(path + "geometry.anchor_sizes");
    const GoldenArray strides = file_->Array(path + "geometry.strides");
    PostprocessOptions options = {};
    options.num_classes = static_cast<int32_t>(file_->Number(path + "spec.classes", 0));
    options.anchors_per_location = static_cast<int32_t>(sizes.shape[1]);
    options.score_threshold = Option(path, "conf", 0.25);
    options.iou_threshold = Option(path, "iou", 0.5);
    options.max_detections = MaxDetections(path, "max_det", 100);
    options.ratio = Option(path, "ratio", 1);
    options.image_height = Option(path, "image_size.0", kInfinity);
    options.image_width = Option(path, "image_size.1", kInfinity);
    const std::string nms = file_->Text(path + "options.nms");
    options.suppression = nms == "soft-gaussian" ? Suppression::kSoftGaussian
                          : nms == "soft-linear" ? Suppression::kSoftLinear
                          : nms == "none"        ? Suppression::kNone
                                                 : Suppression::kHard;
    options.class_agnostic = file_->Text(path + "options.agnostic") == "true";
    options.sigma = Option(path, "sigma", 0.5);

    std::vector<Level> levels;
    for (int64_t l = 0; l < sizes.shape[0]; ++l) {
      const auto map_of = [&](const std::string& head) {
        const std::string level = "." + std::to_string(l);
        const GoldenArray map = file_->Array(path + "inputs." + head + "_maps" + level);
        const std::string quantization = path + "options." + head + "_quantization" + level;
        return HeadMap{map.data, TypeOf(map.dtype),
                       static_cast<float>(file_->Number(quantization + ".0", 0)),
                       static_cast<int32_t>(file_->Number(quantization + ".1", 0))};
      };
      const GoldenArray map = file_->Array(path + "inputs.class_maps." + std::to_string(l));
      levels.push_back({map_of("class"), map_of("box"), static_cast<int32_t>(map.shape[1]),
                        static_cast<int32_t>(map.shape[2]), strides.As<float>()[2 * l],
                        strides.As<float>()[2 * l + 1],
                        sizes.As<AnchorSize>() + l * sizes.shape[1]});
    }
    Buffer<Detection> found;
    ASSERT_EQ(Postprocess(levels.data(), static_cast<int32_t>(levels.size()), options, &found),
              Status::kOk);
    std::vector<float> boxes, scores;
    std::vector<int64_t> class_ids;
    for (const Detection& detection : found) {
      const Box& box = detection.box;
      boxes.insert(boxes.end(), {box.x0, box.y0, box.x1, box.y1});
      scores.push_back(detection.score);
      class_ids.push_back(detection.class_id);
    }
    ExpectOutput(path, "boxes", "float32", boxes.data(), boxes.size());
    ExpectOutput(path, "scores", "float32", scores.data(), scores.size());
    ExpectOutput(path, "class_ids", "int64", class_ids.data(), class_ids.size());
  }
}

TEST_F(GoldenTest, Letterbox) {
  for (const std::string& path : CasesOf("letterbox")) {
    SCOPED_TRACE(file_->Text(path + "name"));
    const GoldenArray image = file_->Array(path + "inputs.image");
    const std::string format = file_->Text(path + "options.format");
    const PixelLayout layout = format == "bgr"    ? PixelLayout::kBgr
                               : format == "rgba" ? PixelLayout::kRgba
                               : format == "bgra" ? PixelLayout::kBgra
                               : format == "gray" ? PixelLayout::kGray
                                                  : PixelLayout::kRgb;
    ExpectTensor(path, PackedImage(image.As<uint8_t>(), image.shape[0], image.shape[1],
                                   image.shape[1] * image.shape[2], layout));
  }
}

TEST_F(GoldenTest, LetterboxYuv) {
  for (const std::string& path : CasesOf("letterbox_yuv")) {
    SCOPED_TRACE(file_->Text(path + "name"));
    const GoldenArray y = file_->Array(path + "inputs.y");
    const GoldenArray u = file_->Array(path + "inputs.u");
    const GoldenArray v = file_->Array(path + "inputs.v");
    const ColorFormat format = file_->Text(path + "options.yuv") == "bt601-limited"
                                   ? ColorFormat::kYuv420Limited
                                   : ColorFormat::kYuv420;
    ExpectTensor(path, {format,
                        y.shape[0],
                        y.shape[1],
                        {{y.As<uint8_t>(), y.shape[1], 1},
                         {u.As<uint8_t>(), u.shape[1], 1},
                         {v.As<uint8_t>(), v.shape[1], 1}}});
  }
}

TEST_F(GoldenTest, WeightedFusion) {
  for (const std::string& path : CasesOf("weighted_fusion")) {
    SCOPED_TRACE(file_->Text(path + "name"));
    const GoldenArray weights = file_->Array(path + "inputs.weights");
    const auto count = static_cast<int32_t>(weights.Count());
    std::vector<float> normalized(weights.As<float>(), weights.As<float>() + count);
    ASSERT_TRUE(NormalizeFusionWeights(weights.As<float>(), count, Option(path, "epsilon", 0),
                                       normalized.data()));
    const int64_t* resampling = file_->Array(path + "geometry.resampling").As<int64_t>();
    std::vector<FusionInput> inputs;
    for (int32_t i = 0; i < count; ++i) {
      const std::string index = "." + std::to_string(i);
      const GoldenArray map = file_->Array(path + "inputs.inputs" + index);
      const int64_t* axes = resampling + 4 * i;
      inputs.push_back(
          {map.data, static_cast<int32_t>(map.shape[0]), static_cast<int32_t>(map.shape[1]),
           AxisResampling{static_cast<int32_t>(axes[0]), static_cast<int32_t>(axes[1])},
           AxisResampling{static_cast<int32_t>(axes[2]), static_cast<int32_t>(axes[3])},
           normalized[static_cast<size_t>(i)],
           Option(path, ("quantization" + index + ".0").c_str(), 1),
           static_cast<int32_t>(Option(path, ("quantization" + index + ".1").c_str(), 0))});
    }
    const GoldenArray fused = file_->Array(path + "outputs.fused");
    const std::string activation = file_->Text(path + "options.activation");
    FusionOptions options = {};
    options.height = static_cast<int32_t>(fused.shape[0]);
    options.width = static_cast<int32_t>(fused.shape[1]);
    options.channels = static_cast<int32_t>(fused.shape[2]);
    options.type = TypeOf(fused.dtype);
    options.activation = activation == "relu"         ? Activation::kRelu
                         : activation == "relu6"      ? Activation::kRelu6
                         : activation == "swish"      ? Activation::kSwish
                         : activation == "hard_swish" ? Activation::kHardSwish
                                                      : Activation::kNone;
    options.scale = Option(path, "out_quantization.0", 1);
    options.zero_point = static_cast<int32_t>(Option(path, "out_quantization.1", 0));
    std::vector<float> out(static_cast<size_t>(fused.Count()));
    ASSERT_EQ(WeightedFusion(inputs.data(), count, options, out.data()), Status::kOk);
    if (fused.dtype == "float32") {
      ExpectOutput(path, "fused", "float32", out.data(), out.size());
    } else {
      ExpectOutput(path, "fused", "int8", reinterpret_cast<int8_t*>(out.data()), out.size());
    }
  }
}

}  // namespace
}  // namespace edgedet
