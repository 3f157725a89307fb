#include "kernels/scan_kernels.h"

namespace edgedet::kernels {
namespace {

// As wide as the element, so that a vector of comparisons needs no widening before the OR.
template <typename T>
struct MaskOf;
template <>
struct MaskOf<float> {
  using Type = uint32_t;
};
template <>
struct MaskOf<int8_t> {
  using Type = uint8_t;
};
template <>
struct MaskOf<uint8_t> {
  using Type = uint8_t;
};
template <>
struct MaskOf<int16_t> {
  using Type = uint16_t;
};

template <typename T>
size_t Find(const T* values, size_t begin, size_t count, T threshold) {
  using Mask = typename MaskOf<T>::Type;
  size_t at = begin;
  for (; at + kScanBlock <= count; at += kScanBlock) {
    Mask found = 0;
    for (size_t i = 0; i < kScanBlock; ++i) {
      found = static_cast<Mask>(found | (values[at + i] >= threshold ? 1 : 0));
    }
    if (found != 0) return at;
  }
  for (size_t i = at; i < count; ++i) {
    if (values[i] >= threshold) return at;
  }
  return count;
}

}  // namespace

size_t FindBlock(const float* values, size_t begin, size_t count, float threshold) {
  return Find(values, begin, count, threshold);
}

size_t FindBlock(const int8_t* values, size_t begin, size_t count, int8_t threshold) {
  return Find(values, begin, count, threshold);
}

size_t FindBlock(const uint8_t* values, size_t begin, size_t count, uint8_t threshold) {
  return Find(values, begin, count, threshold);
}

size_t FindBlock(const int16_t* values, size_t begin, size_t count, int16_t threshold) {
  return Find(values, begin, count, threshold);
}

}  // namespace edgedet::kernels
