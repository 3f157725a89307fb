#include "score_order.h"

#include <utility>

namespace edgedet {
namespace {

// Below this, counting digits costs more than insertion.
constexpr size_t kInsertionLimit = 48;
constexpr size_t kWideDigitsFrom = 4096;

void InsertionSort(uint64_t* keys, size_t count) {
  for (size_t i = 1; i < count; ++i) {
    const uint64_t key = keys[i];
    size_t at = i;
    for (; at > 0 && keys[at - 1] > key; --at) keys[at] = keys[at - 1];
    keys[at] = key;
  }
}

// The score's 32 bits in digits, least significant first.
template <int kDigitBits>
bool RadixSort(Buffer<uint64_t>* keys) {
  constexpr int kDigits = (32 + kDigitBits - 1) / kDigitBits;
  constexpr size_t kBuckets = size_t{1} << kDigitBits;
  const auto digit_of = [](uint64_t key, int digit) {
    return static_cast<size_t>(key >> (32 + digit * kDigitBits)) & (kBuckets - 1);
  };
  const size_t count = keys->size();
  Buffer<uint64_t> scratch;
  if (!scratch.resize(count)) return false;

  uint32_t starts[kDigits][kBuckets] = {};
  for (const uint64_t key : *keys) {
    for (int digit = 0; digit < kDigits; ++digit) ++starts[digit][digit_of(key, digit)];
  }
  uint64_t* from = keys->data();
  uint64_t* to = scratch.data();
  for (int digit = 0; digit < kDigits; ++digit) {
    uint32_t* start = starts[digit];
    // Scores share most of their exponent: a digit that all keys have in common sorts nothing.
    if (start[digit_of(from[0], digit)] == count) continue;
    uint32_t sum = 0;
    for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
      sum += std::exchange(start[bucket], sum);
    }
    for (size_t i = 0; i < count; ++i) to[start[digit_of(from[i], digit)]++] = from[i];
    std::swap(from, to);
  }
  if (from != keys->data()) keys->swap(scratch);
  return true;
}

}  // namespace

bool SortByScore(Buffer<uint64_t>* keys) {
  if (keys->size() <= kInsertionLimit) {
    InsertionSort(keys->data(), keys->size());
    return true;
  }
  // Few keys would spend their time on summing up the counts of wide digits.
  return keys->size() < kWideDigitsFrom ? RadixSort<8>(keys) : RadixSort<11>(keys);
}

}  // namespace edgedet
