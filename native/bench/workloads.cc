#include "workloads.h"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

#include "edgedet/fusion.h"
#include "edgedet/letterbox.h"
#include "edgedet/nms.h"
#include "edgedet/postprocess.h"
#include "edgedet/soft_nms.h"
#include "samples.h"

namespace edgedet::bench {
namespace {

void Require(bool done) {
  if (!done) std::abort();
}

void Require(Status status) { Require(status == Status::kOk); }

template <typename Fill>
ScoredBoxes* MadeBoxes(size_t count, Fill fill) {
  auto* boxes = new ScoredBoxes;
  fill(count, boxes);
  return boxes;
}

void RunNms(const ScoredBoxes& sample) {
  Buffer<int64_t> kept;
  Require(Nms(sample.boxes.data(), sample.scores.data(), nullptr,
              static_cast<int64_t>(sample.boxes.size()), NmsOptions(), &kept));
}

template <size_t kCount>
void NmsUniform() {
  static const ScoredBoxes* const sample = MadeBoxes(kCount, FillUniform);
  RunNms(*sample);
}

template <size_t kCount>
void NmsClustered() {
  static const ScoredBoxes* const sample = MadeBoxes(kCount, FillClustered);
  RunNms(*sample);
}

template <SoftNmsMethod kMethod>
void SoftNmsClustered() {
  static const ScoredBoxes* const sample = MadeBoxes(2000, FillClustered);
  SoftNmsOptions options;
  options.method = kMethod;
  Buffer<int64_t> selected;
  Buffer<float> rescored;
  Require(SoftNms(sample->boxes.data(), sample->scores.data(), nullptr,
                  static_cast<int64_t>(sample->boxes.size()), options, &selected, &rescored));
}

// EfficientDet-D0's heads at 512 pixels: five levels, nine anchors, 90 classes.
class D0Heads {
 public:
  D0Heads() {
    size_t locations = 0;
    for (int32_t l = 0; l < kLevels; ++l) locations += static_cast<size_t>(Side(l) * Side(l));
    FillLogits(locations * kAnchors * kClasses, &logits_);
    FillCodes(locations * kAnchors * 4, &codes_);
    size_t before = 0;
    for (int32_t l = 0; l < kLevels; ++l) {
      const auto stride = static_cast<float>(8 << l);
      for (int32_t a = 0; a < kAnchors; ++a) {
        const float side = 4.0f * stride * std::exp2(static_cast<float>(a / 3) / 3.0f);
        const float root = std::sqrt(a % 3 == 0 ? 1.0f : a % 3 == 1 ? 2.0f : 0.5f);
        sizes_[l][a] = {side * root, side / root};
      }
      const auto* classes = logits_.data() + before * kAnchors * kClasses;
      const auto* boxes = codes_.data() + before * kAnchors * 4;
      levels_[l] = {{classes, ElementType::kInt8, 19.0f / 255.0f, 60},
                    {boxes, ElementType::kInt8, 6.0f / 255.0f, 0},
                    Side(l),
                    Side(l),
                    stride,
                    stride,
                    sizes_[l]};
      before += static_cast<size_t>(Side(l) * Side(l));
    }
  }

  void Run(float score_threshold) const {
    PostprocessOptions options = {};
    options.num_classes = kClasses;
    options.anchors_per_location = kAnchors;
    options.score_threshold = score_threshold;
    options.iou_threshold = 0.5f;
    options.max_detections = 100;
    options.ratio = 1.0f;
    options.image_height = std::numeric_limits<float>::infinity();
    options.image_width = std::numeric_limits<float>::infinity();
    Buffer<Detection> detections;
    Require(Postprocess(levels_, kLevels, options, &detections));
  }

 private:
  static constexpr int32_t kLevels = 5;
  static constexpr int32_t kAnchors = 9;
  static constexpr int32_t kClasses = 90;

  static int32_t Side(int32_t level) { return 64 >> level; }

  Buffer<int8_t> logits_;
  Buffer<int8_t> codes_;
  AnchorSize sizes_[kLevels][kAnchors];
  Level levels_[kLevels];
};

template <int kThousandths>
void PostprocessD0() {
  static const D0Heads* const heads = new D0Heads;
  heads->Run(static_cast<float>(kThousandths) / 1000.0f);
}

template <ElementType kType>
void LetterboxPhoto() {
  constexpr int64_t kHeight = 720;
  constexpr int64_t kWidth = 1280;
  constexpr int64_t kSide = 384;
  static Buffer<uint8_t>* const pixels = [] {
    auto* made = new Buffer<uint8_t>;
    Require(made->resize(kHeight * kWidth * 3));
    Random random(2);
    for (uint8_t& pixel : *made) pixel = static_cast<uint8_t>(random.Bits());
    return made;
  }();
  static Buffer<float>* const tensor = [] {
    auto* made = new Buffer<float>;
    Require(made->resize(kSide * kSide * 3));
    return made;
  }();
  const ImageView image =
      PackedImage(pixels->data(), kHeight, kWidth, kWidth * 3, PixelLayout::kRgb);
  LetterboxOptions options = {};
  options.height = kSide;
  options.width = kSide;
  for (int channel = 0; channel < 3; ++channel) {
    options.mean[channel] = 127.5f;
    options.std[channel] = 127.5f;
  }
  options.type = kType;
  options.scale = 1.0 / 128.0;
  double ratio = 0;
  Require(Letterbox(image, options, tensor->data(), &ratio));
}

// A bottom-up node of a BiFPN: two maps of 64 x 64 x 64 and one of twice the size.
template <ElementType kType, Activation kActivation>
void FuseThree() {
  constexpr int32_t kSide = 64;
  constexpr int32_t kChannels = 64;
  constexpr size_t kElements = size_t{kSide} * kSide * kChannels;
  // The largest input and the result, of either type.
  static Buffer<float>* const maps = [] {
    auto* made = new Buffer<float>;
    Require(made->resize(7 * kElements));
    Random random(3);
    for (float& value : *made) value = random.Normal(0.0f, 1.0f);
    if (kType == ElementType::kInt8) {
      auto* bytes = reinterpret_cast<int8_t*>(made->data());
      for (size_t i = 0; i < 7 * kElements; ++i) bytes[i] = static_cast<int8_t>(random.Bits());
    }
    return made;
  }();
  const size_t bytes = kElements * (kType == ElementType::kInt8 ? 1 : sizeof(float));
  auto* first = reinterpret_cast<uint8_t*>(maps->data());
  const FusionInput inputs[] = {
      {first, kSide, kSide, {}, {}, 0.5f, 0.03f, 5},
      {first + bytes, kSide, kSide, {}, {}, 0.3f, 0.03f, 5},
      {first + 2 * bytes, 2 * kSide, 2 * kSide, {1, 1}, {1, 1}, 0.2f, 0.03f, 5},
  };
  const FusionOptions options = {kSide, kSide, kChannels, kType, kActivation, 0.025f, -100};
  Require(WeightedFusion(inputs, 3, options, first + 6 * bytes));
}

constexpr Workload kWorkloads[] = {
    {"nms/uniform/100", NmsUniform<100>},
    {"nms/uniform/1000", NmsUniform<1000>},
    {"nms/uniform/5000", NmsUniform<5000>},
    {"nms/clustered/1000", NmsClustered<1000>},
    {"nms/clustered/5000", NmsClustered<5000>},
    {"soft_nms/gaussian/2000", SoftNmsClustered<SoftNmsMethod::kGaussian>},
    {"soft_nms/linear/2000", SoftNmsClustered<SoftNmsMethod::kLinear>},
    {"postprocess/d0/0.3", PostprocessD0<300>},
    {"postprocess/d0/0.05", PostprocessD0<50>},
    {"postprocess/d0/0.001", PostprocessD0<1>},
    {"letterbox/1280x720/int8", LetterboxPhoto<ElementType::kInt8>},
    {"letterbox/1280x720/float32", LetterboxPhoto<ElementType::kFloat32>},
    {"fusion/3x64x64x64/int8/relu6", FuseThree<ElementType::kInt8, Activation::kRelu6>},
    {"fusion/3x64x64x64/float32/relu6", FuseThree<ElementType::kFloat32, Activation::kRelu6>},
    {"fusion/3x64x64x64/float32/swish", FuseThree<ElementType::kFloat32, Activation::kSwish>},
};

}  // namespace

const Workload* AllWorkloads(size_t* count) {
  *count = sizeof(kWorkloads) / sizeof(kWorkloads[0]);
  return kWorkloads;
}

}  // namespace edgedet::bench
