#include "samples.h"

#include <cmath>
#include <cstdlib>

namespace edgedet::bench {
namespace {

void Require(bool done) {
  if (!done) std::abort();
}

Box AroundCentre(float x, float y, float width, float height) {
  return {x - width / 2, y - height / 2, x + width / 2, y + height / 2};
}

void Resize(size_t count, ScoredBoxes* boxes) {
  Require(boxes->boxes.resize(count) && boxes->scores.resize(count));
}

int8_t Stored(float value, float scale, float zero_point) {
  const float stored = std::nearbyint(value / scale) + zero_point;
  return static_cast<int8_t>(stored < -128.0f ? -128.0f : stored > 127.0f ? 127.0f : stored);
}

}  // namespace

// SplitMix64 (Steele, Lea, Flood 2014).
uint64_t Random::Bits() {
  state_ += 0x9E3779B97F4A7C15u;
  uint64_t bits = state_;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9u;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBu;
  return bits ^ (bits >> 31);
}

float Random::Uniform(float low, float high) {
  return low + (high - low) * static_cast<float>(Bits() >> 40) * 0x1p-24f;
}

float Random::Normal(float mean, float deviation) {
  float sum = -6.0f;
  for (int i = 0; i < 12; ++i) sum += Uniform(0.0f, 1.0f);
  return mean + deviation * sum;
}

void FillUniform(size_t count, ScoredBoxes* boxes) {
  Random random(count);
  Resize(count, boxes);
  for (size_t i = 0; i < count; ++i) {
    const float x = random.Uniform(0.0f, 1000.0f);
    const float y = random.Uniform(0.0f, 1000.0f);
    const float width = random.Uniform(16.0f, 132.0f);
    boxes->boxes[i] = AroundCentre(x, y, width, random.Uniform(16.0f, 132.0f));
    boxes->scores[i] = random.Uniform(0.0f, 1.0f);
  }
}

void FillClustered(size_t count, ScoredBoxes* boxes) {
  constexpr size_t kObjects = 55;
  struct {
    float x;
    float y;
    float width;
    float height;
  } objects[kObjects];
  Random random(count);
  for (auto& object : objects) {
    object.x = random.Uniform(0.0f, 1000.0f);
    object.y = random.Uniform(0.0f, 1000.0f);
    object.width = random.Uniform(30.0f, 200.0f);
    object.height = random.Uniform(30.0f, 200.0f);
  }
  Resize(count, boxes);
  for (size_t i = 0; i < count; ++i) {
    const auto& object = objects[random.Bits() % kObjects];
    const float x = object.x + random.Normal(0.0f, 0.12f) * object.width;
    const float y = object.y + random.Normal(0.0f, 0.12f) * object.height;
    const float width = object.width * std::exp(random.Normal(0.0f, 0.12f));
    const float height = object.height * std::exp(random.Normal(0.0f, 0.12f));
    boxes->boxes[i] = AroundCentre(x, y, width, height);
    boxes->scores[i] = random.Uniform(0.0f, 1.0f);
  }
}

void FillLogits(size_t count, Buffer<int8_t>* logits) {
  Random random(0);
  Require(logits->resize(count));
  for (int8_t& logit : *logits) {
    const bool object = random.Bits() % 4000 == 0;
    const float value = object ? random.Uniform(-4.0f, 3.0f) : random.Normal(-7.0f, 1.2f);
    logit = Stored(value, 19.0f / 255.0f, 60.0f);
  }
}

void FillCodes(size_t count, Buffer<int8_t>* codes) {
  Random random(1);
  Require(codes->resize(count));
  for (int8_t& code : *codes) code = Stored(random.Normal(0.0f, 0.3f), 6.0f / 255.0f, 0.0f);
}

}  // namespace edgedet::bench
