#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "edgedet/fusion.h"
#include "edgedet/letterbox.h"
#include "edgedet/nms.h"
#include "edgedet/postprocess.h"
#include "edgedet/soft_nms.h"

// Detectors in many threads at once, over the same images and maps. The thread sanitizer watches;
// without it the results tell. This is a program of its own, so that the library's first call,
// which chooses the kernels, happens in several threads at once as well.
namespace edgedet {
namespace {

constexpr int kThreads = 6;
constexpr int kRounds = 8;
constexpr int64_t kSide = 64;
constexpr int32_t kClasses = 3;

uint32_t Next(uint32_t* state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

// What all threads read.
struct Inputs {
  std::vector<uint8_t> image;
  std::vector<int8_t> classes[2];
  std::vector<float> codes[2];
  std::vector<Box> boxes;
  std::vector<float> scores;
  std::vector<float> maps[2];
  AnchorSize anchors[1] = {{24.0f, 20.0f}};

  Inputs() {
    uint32_t state = 1;
    const auto share = [&] { return static_cast<float>(Next(&state) % 4096) / 4096.0f; };
    image.resize(70 * 90 * 3);
    for (uint8_t& value : image) value = static_cast<uint8_t>(Next(&state));
    for (int level = 0; level < 2; ++level) {
      const size_t places = static_cast<size_t>(level == 0 ? 8 * 8 : 4 * 4);
      classes[level].resize(places * kClasses);
      for (int8_t& value : classes[level]) value = static_cast<int8_t>(Next(&state));
      codes[level].resize(places * 4);
      for (float& value : codes[level]) value = share() - 0.5f;
      maps[level].resize(places * 5);
      for (float& value : maps[level]) value = share() * 8.0f - 4.0f;
    }
    for (int i = 0; i < 300; ++i) {
      const float x = share() * 80.0f, y = share() * 80.0f;
      boxes.push_back({x, y, x + 20.0f, y + 20.0f});
      scores.push_back(share());
    }
  }
};

// What one thread makes of them.
struct Results {
  std::vector<int8_t> tensor;
  std::vector<Detection> detections;
  std::vector<int64_t> kept;
  std::vector<int64_t> selected;
  std::vector<float> rescored;
  std::vector<float> fused;
  bool ok = true;
};

template <typename T>
std::vector<T> Copy(const Buffer<T>& buffer) {
  return {buffer.begin(), buffer.end()};
}

Results Detect(const Inputs& inputs) {
  Results results;
  const auto check = [&](Status status) { results.ok = results.ok && status == Status::kOk; };

  LetterboxOptions letterbox = {};
  letterbox.height = letterbox.width = kSide;
  for (int channel = 0; channel < 3; ++channel) {
    letterbox.mean[channel] = letterbox.std[channel] = 127.5f;
  }
  letterbox.type = ElementType::kInt8;
  letterbox.scale = 1.0 / 127.0;
  results.tensor.resize(kSide * kSide * 3);
  double ratio = 0.0;
  check(Letterbox(PackedImage(inputs.image.data(), 70, 90, 270, PixelLayout::kRgb), letterbox,
                  results.tensor.data(), &ratio));

  Level levels[2] = {};
  for (int level = 0; level < 2; ++level) {
    const int32_t side = level == 0 ? 8 : 4;
    const auto stride = static_cast<float>(kSide / side);
    levels[level] = {{inputs.classes[level].data(), ElementType::kInt8, 0.05f, 30},
                     {inputs.codes[level].data(), ElementType::kFloat32, 1.0f, 0},
                     side,
                     side,
                     stride,
                     stride,
                     inputs.anchors};
  }
  PostprocessOptions options = {};
  options.num_classes = kClasses;
  options.anchors_per_location = 1;
  options.score_threshold = 0.3f;
  options.iou_threshold = 0.5f;
  options.max_detections = 100;
  options.ratio = static_cast<float>(ratio);
  options.image_height = 70.0f;
  options.image_width = 90.0f;
  Buffer<Detection> detections;
  check(Postprocess(levels, 2, options, &detections));
  results.detections = Copy(detections);

  const auto count = static_cast<int64_t>(inputs.boxes.size());
  Buffer<int64_t> kept, selected;
  Buffer<float> rescored;
  check(Nms(inputs.boxes.data(), inputs.scores.data(), nullptr, count, NmsOptions(), &kept));
  check(SoftNms(inputs.boxes.data(), inputs.scores.data(), nullptr, count, SoftNmsOptions(),
                &selected, &rescored));
  results.kept = Copy(kept);
  results.selected = Copy(selected);
  results.rescored = Copy(rescored);

  const FusionInput maps[] = {
      {inputs.maps[0].data(), 8, 8, AxisResampling{}, AxisResampling{}, 0.6f, 1.0f, 0},
      {inputs.maps[1].data(), 4, 4, AxisResampling{2, 0}, AxisResampling{2, 0}, 0.4f, 1.0f, 0}};
  FusionOptions fusion = {};
  fusion.height = fusion.width = 8;
  fusion.channels = 5;
  fusion.type = ElementType::kFloat32;
  fusion.activation = Activation::kSwish;
  results.fused.resize(8 * 8 * 5);
  check(WeightedFusion(maps, 2, fusion, results.fused.data()));
  return results;
}

// Bytes, because these are the same calls on the same machine.
template <typename T>
bool Same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && !a.empty() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

bool Same(const Results& a, const Results& b) {
  return a.ok && b.ok && Same(a.tensor, b.tensor) && Same(a.detections, b.detections) &&
         Same(a.kept, b.kept) && Same(a.selected, b.selected) && Same(a.rescored, b.rescored) &&
         Same(a.fused, b.fused);
}

TEST(ThreadsTest, ConcurrentDetectorsFindWhatOneFinds) {
  const Inputs inputs;
  std::vector<std::vector<Results>> found(kThreads);
  std::vector<std::thread> threads;
  for (std::vector<Results>& of_thread : found) {
    threads.emplace_back([&inputs, &of_thread] {
      for (int round = 0; round < kRounds; ++round) of_thread.push_back(Detect(inputs));
    });
  }
  for (std::thread& thread : threads) thread.join();
  const Results alone = Detect(inputs);
  for (const std::vector<Results>& of_thread : found) {
    for (const Results& results : of_thread) EXPECT_TRUE(Same(results, alone));
  }
}

}  // namespace
}  // namespace edgedet
