#ifndef EDGEDET_FUZZ_INPUT_H_
#define EDGEDET_FUZZ_INPUT_H_

#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "edgedet/element_type.h"

// What the fuzzers draw from libFuzzer's bytes.
namespace edgedet::fuzz {

inline ElementType DrawType(FuzzedDataProvider& bytes) {
  constexpr ElementType kTypes[] = {ElementType::kFloat32, ElementType::kInt8, ElementType::kUint8,
                                    ElementType::kInt16};
  return kTypes[bytes.ConsumeIntegralInRange<size_t>(0, 3)];
}

inline size_t SizeOf(ElementType type) {
  return type == ElementType::kFloat32 ? 4 : type == ElementType::kInt16 ? 2 : 1;
}

// Any float32: one of the values that matter, a fraction, or any bits.
inline float DrawFloat(FuzzedDataProvider& bytes) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kOnes[] = {0.0f,      -0.0f,      1.0f, -1.0f, 0.5f,   1e-38f,      1e-45f, 3e38f,
                             kInfinity, -kInfinity, kNan, 1e-3f, 127.5f, 16777216.0f, -3e38f, 0.3f};
  const auto choice = bytes.ConsumeIntegral<uint8_t>();
  if (choice < 64) return kOnes[choice % 16];
  if (choice < 192) return static_cast<float>(bytes.ConsumeIntegral<int16_t>()) / 256.0f;
  const auto bits = bytes.ConsumeIntegral<uint32_t>();
  return __builtin_bit_cast(float, bits);
}

// A number of 0..1, or now and then one that is not.
inline float DrawShare(FuzzedDataProvider& bytes) {
  const auto choice = bytes.ConsumeIntegral<uint8_t>();
  return choice < 250 ? static_cast<float>(choice) / 249.0f : DrawFloat(bytes);
}

// `count` elements in a heap block of their very size, so that a read beyond it is seen. They
// repeat the bytes of `pattern`: as bits of the type or, where `coarse`, as eighths.
class Elements {
 public:
  Elements(ElementType type, size_t count, const std::vector<uint8_t>& pattern, size_t phase,
           bool coarse)
      : bytes_(new uint8_t[count * SizeOf(type)]) {
    const auto at = [&](size_t i) {
      return pattern.empty() ? uint8_t{0} : pattern[(phase + i) % pattern.size()];
    };
    if (type == ElementType::kFloat32 && coarse) {
      for (size_t i = 0; i < count; ++i) {
        const float value = static_cast<float>(static_cast<int8_t>(at(i))) / 8.0f;
        std::memcpy(bytes_.get() + 4 * i, &value, 4);
      }
    } else {
      for (size_t i = 0; i < count * SizeOf(type); ++i) bytes_[i] = at(i);
    }
  }

  const void* data() const { return bytes_.get(); }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
};

}  // namespace edgedet::fuzz

#endif  // EDGEDET_FUZZ_INPUT_H_
