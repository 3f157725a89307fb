#ifndef EDGEDET_BENCH_SAMPLES_H_
#define EDGEDET_BENCH_SAMPLES_H_

#include <cstddef>
#include <cstdint>

#include "edgedet/boxes.h"
#include "edgedet/buffer.h"

// Inputs from a small generator of our own: the standard library's distributions differ between
// implementations.
namespace edgedet::bench {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Bits();
  float Uniform(float low, float high);
  float Normal(float mean, float deviation);  // by the sum of twelve even numbers

 private:
  uint64_t state_;
};

struct ScoredBoxes {
  Buffer<Box> boxes;
  Buffer<float> scores;
};

// As in benchmarks/native_suppression.py: even over 1000 x 1000 with sides from 16 to 132, and
// around 55 objects with sides from 30 to 200, off by 12%.
void FillUniform(size_t count, ScoredBoxes* boxes);
void FillClustered(size_t count, ScoredBoxes* boxes);

// Int8 class logits of scale 19 / 255 and zero point 60, normal around -7.0 with a deviation of
// 1.2; one in 4000 lies between -4 and 3.
void FillLogits(size_t count, Buffer<int8_t>* logits);

// Int8 values of scale 6 / 255, normal around 0 with a deviation of 0.3.
void FillCodes(size_t count, Buffer<int8_t>* codes);

}  // namespace edgedet::bench

#endif  // EDGEDET_BENCH_SAMPLES_H_
