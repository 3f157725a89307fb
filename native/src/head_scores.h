#ifndef EDGEDET_SRC_HEAD_SCORES_H_
#define EDGEDET_SRC_HEAD_SCORES_H_

#include <cstdint>
#include <limits>
#include <type_traits>

#include "edgedet/postprocess.h"
#include "sigmoid.h"

namespace edgedet {

inline float Dequantize(int32_t value, const HeadMap& map) {
  return map.scale * static_cast<float>(value - map.zero_point);
}

// Smallest value of [low, high] with passes(value), or high + 1; passes must be monotonic.
template <typename Predicate>
int64_t FirstPassing(int64_t low, int64_t high, Predicate passes) {
  while (low <= high) {
    const int64_t middle = low + (high - low) / 2;
    if (passes(middle)) {
      high = middle - 1;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// Floats in their order, numbered: the bits of positive ones, minus the bits of negative ones.
inline float FloatAt(int64_t position) {
  const uint32_t magnitude = static_cast<uint32_t>(position < 0 ? -position : position);
  return __builtin_bit_cast(float, position < 0 ? magnitude | 0x80000000u : magnitude);
}

// Next float after a score.
inline float Successor(float score) {
  return __builtin_bit_cast(float, __builtin_bit_cast(uint32_t, score) + 1);
}

// The first element of a class map whose score is at or above a given one, or none.
template <typename T>
struct Threshold {
  bool reachable;
  T value;
};

inline Threshold<float> ThresholdOf(const HeadMap&, float score, float) {
  constexpr int64_t kInfinity = 0x7F800000;
  const int64_t position = FirstPassing(-kInfinity, kInfinity,
                                        [&](int64_t at) { return Sigmoid(FloatAt(at)) >= score; });
  return {position <= kInfinity, position <= kInfinity ? FloatAt(position) : 0.0f};
}

template <typename T>
Threshold<T> ThresholdOf(const HeadMap& map, float score, T) {
  constexpr int64_t kLow = std::numeric_limits<T>::min();
  constexpr int64_t kHigh = std::numeric_limits<T>::max();
  const int64_t first = FirstPassing(kLow, kHigh, [&](int64_t value) {
    return Sigmoid(Dequantize(static_cast<int32_t>(value), map)) >= score;
  });
  return {first <= kHigh, static_cast<T>(first <= kHigh ? first : 0)};
}

// Scores of a class map's elements: 8-bit elements have 256 of them, computed when first needed.
template <typename T>
class Scores {
 public:
  explicit Scores(const HeadMap& map) : map_(map) {
    if constexpr (kTabled) {
      for (float& score : table_) score = -1.0f;
    }
  }

  float operator()(T value) {
    if constexpr (kTabled) {
      float& score = table_[static_cast<uint8_t>(value)];
      if (score < 0.0f) score = Sigmoid(Dequantize(value, map_));
      return score;
    } else if constexpr (std::is_same_v<T, float>) {
      return Sigmoid(value);
    } else {
      return Sigmoid(Dequantize(value, map_));
    }
  }

 private:
  static constexpr bool kTabled = sizeof(T) == 1;
  const HeadMap& map_;
  float table_[kTabled ? 256 : 1];
};

}  // namespace edgedet

#endif  // EDGEDET_SRC_HEAD_SCORES_H_
