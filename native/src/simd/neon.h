#ifndef EDGEDET_SRC_SIMD_NEON_H_
#define EDGEDET_SRC_SIMD_NEON_H_

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

// The baseline of aarch64.
namespace edgedet::EDGEDET_ISA::simd {

constexpr size_t kLanes = 4;

using F32 = float32x4_t;
using I32 = int32x4_t;
struct Mask {
  uint32x4_t bits;
};

inline F32 LoadF32(const float* p) { return vld1q_f32(p); }
inline void StoreF32(float* p, F32 a) { vst1q_f32(p, a); }
inline F32 SetF32(float a) { return vdupq_n_f32(a); }
inline F32 Add(F32 a, F32 b) { return vaddq_f32(a, b); }
inline F32 Sub(F32 a, F32 b) { return vsubq_f32(a, b); }
inline F32 Mul(F32 a, F32 b) { return vmulq_f32(a, b); }
inline F32 Div(F32 a, F32 b) { return vdivq_f32(a, b); }
// Not vminq_f32 and vmaxq_f32: x86 takes the second operand for NaN and for zeros.
inline F32 Min(F32 a, F32 b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
inline F32 Max(F32 a, F32 b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }

inline Mask Greater(F32 a, F32 b) { return {vcgtq_f32(a, b)}; }
inline Mask AtLeast(F32 a, F32 b) { return {vcgeq_f32(a, b)}; }
inline Mask Or(Mask a, Mask b) { return {vorrq_u32(a.bits, b.bits)}; }
inline uint32_t Bits(Mask a) {
  const uint32x4_t places = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(a.bits, places));
}
inline bool Any(Mask a) { return vmaxvq_u32(a.bits) != 0; }
inline F32 Select(Mask mask, F32 a, F32 b) { return vbslq_f32(mask.bits, a, b); }

inline I32 LoadI32(const int32_t* p) { return vld1q_s32(p); }
inline void StoreI32(int32_t* p, I32 a) { vst1q_s32(p, a); }
inline I32 SetI32(int32_t a) { return vdupq_n_s32(a); }
inline I32 AddI32(I32 a, I32 b) { return vaddq_s32(a, b); }
inline I32 SubI32(I32 a, I32 b) { return vsubq_s32(a, b); }
template <int kCount>
inline I32 ShiftLeft(I32 a) {
  return vshlq_n_s32(a, kCount);
}
inline F32 ToF32(I32 a) { return vcvtq_f32_s32(a); }
inline I32 RoundToI32(F32 a) { return vcvtnq_s32_f32(a); }
inline F32 AsF32(I32 a) { return vreinterpretq_f32_s32(a); }
inline I32 AsI32(F32 a) { return vreinterpretq_s32_f32(a); }

inline uint8x8_t LoadFourBytes(const void* p) {
  uint32_t four;
  __builtin_memcpy(&four, p, sizeof(four));
  return vcreate_u8(four);
}
inline I32 LoadU8AsI32(const uint8_t* p) {
  return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(LoadFourBytes(p)))));
}
inline F32 LoadU8AsF32(const uint8_t* p) { return vcvtq_f32_s32(LoadU8AsI32(p)); }
inline I32 LoadI8AsI32(const int8_t* p) {
  return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(LoadFourBytes(p)))));
}
inline I32 LoadI16AsI32(const int16_t* p) { return vmovl_s16(vld1_s16(p)); }
inline void StoreI32AsBytes(void* p, I32 a) {
  const int16x4_t words = vmovn_s32(a);
  const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
  const uint32_t four = vget_lane_u32(vreinterpret_u32_s8(bytes), 0);
  __builtin_memcpy(p, &four, sizeof(four));
}
inline void StoreI32AsU8(uint8_t* p, I32 a) { StoreI32AsBytes(p, a); }
inline void StoreI32AsI8(int8_t* p, I32 a) { StoreI32AsBytes(p, a); }

constexpr size_t kQuads = 1;
using QuadsF32 = F32;
using QuadsI32 = I32;

inline QuadsF32 LoadPackedQuads(const float* p) { return LoadF32(p); }
inline QuadsF32 LoadQuads(const float* p, const int32_t* at) { return LoadF32(p + at[0]); }
inline QuadsF32 SpreadQuads(const float* p, const int32_t* at) { return vld1q_dup_f32(p + at[0]); }
inline QuadsF32 RepeatQuad(const float* p) { return LoadF32(p); }
inline QuadsF32 SetQuads(float a) { return SetF32(a); }
inline QuadsI32 SetQuadsI32(int32_t a) { return SetI32(a); }
inline QuadsF32 SwapFirstAndThird(QuadsF32 a) {
  const uint8x16_t swapped = {8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15};
  return vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(a), swapped));
}
inline void StoreTriples(float* p, QuadsF32 a) { StoreF32(p, a); }
inline void StoreTriples(uint8_t* p, QuadsI32 a) { StoreI32AsU8(p, a); }
inline void StoreTriples(int8_t* p, QuadsI32 a) { StoreI32AsI8(p, a); }

// One bit of each of 64 bytes that are all zeros or all ones.
inline uint64_t BitsOf64(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d) {
  const uint8x16_t places = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t ab = vpaddq_u8(vandq_u8(a, places), vandq_u8(b, places));
  const uint8x16_t cd = vpaddq_u8(vandq_u8(c, places), vandq_u8(d, places));
  const uint8x16_t abcd = vpaddq_u8(ab, cd);
  return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(abcd, abcd)), 0);
}
inline uint64_t AtLeast64(const uint8_t* p, uint8_t threshold) {
  const uint8x16_t limit = vdupq_n_u8(threshold);
  return BitsOf64(vcgeq_u8(vld1q_u8(p), limit), vcgeq_u8(vld1q_u8(p + 16), limit),
                  vcgeq_u8(vld1q_u8(p + 32), limit), vcgeq_u8(vld1q_u8(p + 48), limit));
}
inline uint64_t AtLeast64(const int8_t* p, int8_t threshold) {
  const int8x16_t limit = vdupq_n_s8(threshold);
  return BitsOf64(vcgeq_s8(vld1q_s8(p), limit), vcgeq_s8(vld1q_s8(p + 16), limit),
                  vcgeq_s8(vld1q_s8(p + 32), limit), vcgeq_s8(vld1q_s8(p + 48), limit));
}
inline uint8x16_t AtLeast16(const int16_t* p, int16x8_t limit) {
  return vcombine_u8(vmovn_u16(vcgeq_s16(vld1q_s16(p), limit)),
                     vmovn_u16(vcgeq_s16(vld1q_s16(p + 8), limit)));
}
inline uint64_t AtLeast64(const int16_t* p, int16_t threshold) {
  const int16x8_t limit = vdupq_n_s16(threshold);
  return BitsOf64(AtLeast16(p, limit), AtLeast16(p + 16, limit), AtLeast16(p + 32, limit),
                  AtLeast16(p + 48, limit));
}
inline uint16x8_t AtLeast8(const float* p, float32x4_t limit) {
  return vcombine_u16(vmovn_u32(vcgeq_f32(vld1q_f32(p), limit)),
                      vmovn_u32(vcgeq_f32(vld1q_f32(p + 4), limit)));
}
inline uint8x16_t AtLeast16(const float* p, float32x4_t limit) {
  return vcombine_u8(vmovn_u16(AtLeast8(p, limit)), vmovn_u16(AtLeast8(p + 8, limit)));
}
inline uint64_t AtLeast64(const float* p, float threshold) {
  const float32x4_t limit = vdupq_n_f32(threshold);
  return BitsOf64(AtLeast16(p, limit), AtLeast16(p + 16, limit), AtLeast16(p + 32, limit),
                  AtLeast16(p + 48, limit));
}

}  // namespace edgedet::EDGEDET_ISA::simd

#endif  // EDGEDET_SRC_SIMD_NEON_H_
