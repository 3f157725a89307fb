#ifndef EDGEDET_SRC_KERNELS_SCAN_KERNELS_H_
#define EDGEDET_SRC_KERNELS_SCAN_KERNELS_H_

#include <cstddef>
#include <cstdint>

namespace edgedet::kernels {

constexpr size_t kScanBlock = 64;

// Start of the first block of kScanBlock values, from `begin` on, that holds a value at or above
// the threshold; `count` when there is none. NaN is below every threshold. The last block may be
// shorter.
size_t FindBlock(const float* values, size_t begin, size_t count, float threshold);
size_t FindBlock(const int8_t* values, size_t begin, size_t count, int8_t threshold);
size_t FindBlock(const uint8_t* values, size_t begin, size_t count, uint8_t threshold);
size_t FindBlock(const int16_t* values, size_t begin, size_t count, int16_t threshold);

}  // namespace edgedet::kernels

#endif  // EDGEDET_SRC_KERNELS_SCAN_KERNELS_H_
