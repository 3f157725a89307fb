#ifndef EDGEDET_SRC_KERNELS_SCAN_KERNELS_H_
#define EDGEDET_SRC_KERNELS_SCAN_KERNELS_H_

#include <cstddef>
#include <cstdint>

namespace edgedet::kernels {

constexpr size_t kScanBlock = 64;

// Each finds the first block of kScanBlock values, from `begin` on, that holds a value at or above
// the threshold. It returns the block's start and sets `passing`, bit i for the block's value i; or
// it returns `count` when there is none. NaN is below every threshold. The last block may be
// shorter.
struct ScanKernels {
  size_t (*find_f32)(const float* values, size_t begin, size_t count, float threshold,
                     uint64_t* passing);
  size_t (*find_i8)(const int8_t* values, size_t begin, size_t count, int8_t threshold,
                    uint64_t* passing);
  size_t (*find_u8)(const uint8_t* values, size_t begin, size_t count, uint8_t threshold,
                    uint64_t* passing);
  size_t (*find_i16)(const int16_t* values, size_t begin, size_t count, int16_t threshold,
                     uint64_t* passing);

  // The same for values at or above the threshold and not at or above `above`.
  size_t (*find_between_f32)(const float* values, size_t begin, size_t count, float threshold,
                             float above, uint64_t* passing);
  size_t (*find_between_i8)(const int8_t* values, size_t begin, size_t count, int8_t threshold,
                            int8_t above, uint64_t* passing);
  size_t (*find_between_u8)(const uint8_t* values, size_t begin, size_t count, uint8_t threshold,
                            uint8_t above, uint64_t* passing);
  size_t (*find_between_i16)(const int16_t* values, size_t begin, size_t count, int16_t threshold,
                             int16_t above, uint64_t* passing);
};

}  // namespace edgedet::kernels

#endif  // EDGEDET_SRC_KERNELS_SCAN_KERNELS_H_
