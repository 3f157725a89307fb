#ifndef EDGEDET_SRC_SCORE_ORDER_H_
#define EDGEDET_SRC_SCORE_ORDER_H_

#include <cstdint>

#include "edgedet/buffer.h"

namespace edgedet {

// 64-bit keys whose ascending order is descending score, then ascending index.
inline uint64_t ScoreKey(float score, uint32_t index) {
  // Adding 0 turns -0 into +0: the two are equal, and their index must decide.
  const uint32_t bits = __builtin_bit_cast(uint32_t, score + 0.0f);
  const uint32_t descending = (bits >> 31) != 0 ? bits : ~(bits | 0x80000000u);
  return static_cast<uint64_t>(descending) << 32 | index;
}

inline uint32_t KeyIndex(uint64_t key) { return static_cast<uint32_t>(key); }

inline float KeyScore(uint64_t key) {
  const uint32_t descending = static_cast<uint32_t>(key >> 32);
  const uint32_t bits = (descending >> 31) != 0 ? descending : ~descending & 0x7FFFFFFFu;
  return __builtin_bit_cast(float, bits);
}

// Sorts by score; keys of one score must come in the order they are to stay in. False when out of
// memory.
[[nodiscard]] bool SortByScore(Buffer<uint64_t>* keys);

}  // namespace edgedet

#endif  // EDGEDET_SRC_SCORE_ORDER_H_
