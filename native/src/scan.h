#ifndef EDGEDET_SRC_SCAN_H_
#define EDGEDET_SRC_SCAN_H_

#include "dispatch.h"

namespace edgedet {

// The scan kernels by element type: see kernels/scan_kernels.h. With `above`, values at or above
// that don't pass.
inline size_t FindBlock(const float* values, size_t begin, size_t count, float threshold,
                        uint64_t* passing) {
  return ActiveKernels().scan->find_f32(values, begin, count, threshold, passing);
}
inline size_t FindBlock(const float* values, size_t begin, size_t count, float threshold,
                        float above, uint64_t* passing) {
  return ActiveKernels().scan->find_between_f32(values, begin, count, threshold, above, passing);
}
inline size_t FindBlock(const int8_t* values, size_t begin, size_t count, int8_t threshold,
                        uint64_t* passing) {
  return ActiveKernels().scan->find_i8(values, begin, count, threshold, passing);
}
inline size_t FindBlock(const int8_t* values, size_t begin, size_t count, int8_t threshold,
                        int8_t above, uint64_t* passing) {
  return ActiveKernels().scan->find_between_i8(values, begin, count, threshold, above, passing);
}
inline size_t FindBlock(const uint8_t* values, size_t begin, size_t count, uint8_t threshold,
                        uint64_t* passing) {
  return ActiveKernels().scan->find_u8(values, begin, count, threshold, passing);
}
inline size_t FindBlock(const uint8_t* values, size_t begin, size_t count, uint8_t threshold,
                        uint8_t above, uint64_t* passing) {
  return ActiveKernels().scan->find_between_u8(values, begin, count, threshold, above, passing);
}
inline size_t FindBlock(const int16_t* values, size_t begin, size_t count, int16_t threshold,
                        uint64_t* passing) {
  return ActiveKernels().scan->find_i16(values, begin, count, threshold, passing);
}
inline size_t FindBlock(const int16_t* values, size_t begin, size_t count, int16_t threshold,
                        int16_t above, uint64_t* passing) {
  return ActiveKernels().scan->find_between_i16(values, begin, count, threshold, above, passing);
}

}  // namespace edgedet

#endif  // EDGEDET_SRC_SCAN_H_
