#ifndef EDGEDET_SRC_SIMD_SCALAR_H_
#define EDGEDET_SRC_SIMD_SCALAR_H_

#include <cstddef>
#include <cstdint>

// One lane in plain C++: the reference that every instruction set must equal.
namespace edgedet::EDGEDET_ISA::simd {

constexpr size_t kLanes = 1;

using F32 = float;
using I32 = int32_t;
using Mask = bool;

inline F32 LoadF32(const float* p) { return *p; }
inline void StoreF32(float* p, F32 a) { *p = a; }
inline F32 SetF32(float a) { return a; }
inline F32 Add(F32 a, F32 b) { return a + b; }
inline F32 Sub(F32 a, F32 b) { return a - b; }
inline F32 Mul(F32 a, F32 b) { return a * b; }
inline F32 Div(F32 a, F32 b) { return a / b; }
inline F32 Min(F32 a, F32 b) { return a < b ? a : b; }
inline F32 Max(F32 a, F32 b) { return a > b ? a : b; }

inline Mask Greater(F32 a, F32 b) { return a > b; }
inline Mask AtLeast(F32 a, F32 b) { return a >= b; }
inline Mask Or(Mask a, Mask b) { return a || b; }
inline bool Any(Mask a) { return a; }
inline uint32_t Bits(Mask a) { return a ? 1 : 0; }
inline F32 Select(Mask mask, F32 a, F32 b) { return mask ? a : b; }

inline I32 LoadI32(const int32_t* p) { return *p; }
inline void StoreI32(int32_t* p, I32 a) { *p = a; }
inline I32 SetI32(int32_t a) { return a; }
inline I32 AddI32(I32 a, I32 b) {
  return static_cast<I32>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}
inline I32 SubI32(I32 a, I32 b) {
  return static_cast<I32>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
}
template <int kCount>
inline I32 ShiftLeft(I32 a) {
  return static_cast<I32>(static_cast<uint32_t>(a) << kCount);
}
inline F32 ToF32(I32 a) { return static_cast<float>(a); }
inline I32 RoundToI32(F32 a) {
  // The float unit itself rounds: the integer is left in the low bits of the sum.
  return __builtin_bit_cast(int32_t, a + 12582912.0f) - 0x4B400000;
}
inline F32 AsF32(I32 a) { return __builtin_bit_cast(float, a); }
inline I32 AsI32(F32 a) { return __builtin_bit_cast(int32_t, a); }

inline F32 LoadU8AsF32(const uint8_t* p) { return static_cast<float>(*p); }
inline I32 LoadU8AsI32(const uint8_t* p) { return *p; }
inline I32 LoadI8AsI32(const int8_t* p) { return *p; }
inline I32 LoadI16AsI32(const int16_t* p) { return *p; }
inline void StoreI32AsU8(uint8_t* p, I32 a) { *p = static_cast<uint8_t>(a); }
inline void StoreI32AsI8(int8_t* p, I32 a) { *p = static_cast<int8_t>(a); }

constexpr size_t kQuads = 1;
struct QuadsF32 {
  float lanes[4];
};
struct QuadsI32 {
  int32_t lanes[4];
};

inline QuadsF32 LoadPackedQuads(const float* p) { return {{p[0], p[1], p[2], p[3]}}; }
inline QuadsF32 LoadQuads(const float* p, const int32_t* at) { return LoadPackedQuads(p + at[0]); }
inline QuadsF32 SetQuads(float a) { return {{a, a, a, a}}; }
inline QuadsI32 SetQuadsI32(int32_t a) { return {{a, a, a, a}}; }
inline QuadsF32 SpreadQuads(const float* p, const int32_t* at) { return SetQuads(p[at[0]]); }
inline QuadsF32 RepeatQuad(const float* p) { return LoadPackedQuads(p); }
inline QuadsF32 Add(QuadsF32 a, QuadsF32 b) {
  for (int i = 0; i < 4; ++i) a.lanes[i] = Add(a.lanes[i], b.lanes[i]);
  return a;
}
inline QuadsF32 Sub(QuadsF32 a, QuadsF32 b) {
  for (int i = 0; i < 4; ++i) a.lanes[i] = Sub(a.lanes[i], b.lanes[i]);
  return a;
}
inline QuadsF32 Mul(QuadsF32 a, QuadsF32 b) {
  for (int i = 0; i < 4; ++i) a.lanes[i] = Mul(a.lanes[i], b.lanes[i]);
  return a;
}
inline QuadsF32 Min(QuadsF32 a, QuadsF32 b) {
  for (int i = 0; i < 4; ++i) a.lanes[i] = Min(a.lanes[i], b.lanes[i]);
  return a;
}
inline QuadsF32 Max(QuadsF32 a, QuadsF32 b) {
  for (int i = 0; i < 4; ++i) a.lanes[i] = Max(a.lanes[i], b.lanes[i]);
  return a;
}
inline QuadsI32 AddI32(QuadsI32 a, QuadsI32 b) {
  for (int i = 0; i < 4; ++i) a.lanes[i] = AddI32(a.lanes[i], b.lanes[i]);
  return a;
}
inline QuadsI32 RoundToI32(QuadsF32 a) {
  QuadsI32 rounded;
  for (int i = 0; i < 4; ++i) rounded.lanes[i] = RoundToI32(a.lanes[i]);
  return rounded;
}
inline QuadsF32 SwapFirstAndThird(QuadsF32 a) {
  return {{a.lanes[2], a.lanes[1], a.lanes[0], a.lanes[3]}};
}
inline void StoreTriples(float* p, QuadsF32 a) {
  for (int i = 0; i < 4; ++i) p[i] = a.lanes[i];
}
inline void StoreTriples(uint8_t* p, QuadsI32 a) {
  for (int i = 0; i < 4; ++i) p[i] = static_cast<uint8_t>(a.lanes[i]);
}
inline void StoreTriples(int8_t* p, QuadsI32 a) {
  for (int i = 0; i < 4; ++i) p[i] = static_cast<int8_t>(a.lanes[i]);
}

template <typename T>
inline uint64_t AtLeast64(const T* p, T threshold) {
  uint64_t bits = 0;
  for (int i = 0; i < 64; ++i) bits |= static_cast<uint64_t>(p[i] >= threshold) << i;
  return bits;
}

}  // namespace edgedet::EDGEDET_ISA::simd

#endif  // EDGEDET_SRC_SIMD_SCALAR_H_
