#include "kernels/scan_kernels.h"

#include "simd/simd.h"

namespace edgedet::EDGEDET_ISA {
namespace {

using kernels::kScanBlock;

template <typename T>
size_t Find(const T* values, size_t begin, size_t count, T threshold, uint64_t* passing) {
  size_t at = begin;
  for (; at + kScanBlock <= count; at += kScanBlock) {
    const uint64_t bits = simd::AtLeast64(values + at, threshold);
    if (bits != 0) {
      *passing = bits;
      return at;
    }
  }
  uint64_t bits = 0;
  for (size_t i = at; i < count; ++i) {
    bits |= static_cast<uint64_t>(values[i] >= threshold) << (i - at);
  }
  *passing = bits;
  return bits != 0 ? at : count;
}

template <typename T>
size_t FindBetween(const T* values, size_t begin, size_t count, T threshold, T above,
                   uint64_t* passing) {
  size_t at = begin;
  for (; at + kScanBlock <= count; at += kScanBlock) {
    const uint64_t bits =
        simd::AtLeast64(values + at, threshold) & ~simd::AtLeast64(values + at, above);
    if (bits != 0) {
      *passing = bits;
      return at;
    }
  }
  uint64_t bits = 0;
  for (size_t i = at; i < count; ++i) {
    bits |= static_cast<uint64_t>(values[i] >= threshold && !(values[i] >= above)) << (i - at);
  }
  *passing = bits;
  return bits != 0 ? at : count;
}

}  // namespace

extern const kernels::ScanKernels kScan;
const kernels::ScanKernels kScan = {Find<float>,          Find<int8_t>,        Find<uint8_t>,
                                    Find<int16_t>,        FindBetween<float>,  FindBetween<int8_t>,
                                    FindBetween<uint8_t>, FindBetween<int16_t>};

}  // namespace edgedet::EDGEDET_ISA
