#ifndef EDGEDET_SRC_SIMD_AVX512_H_
#define EDGEDET_SRC_SIMD_AVX512_H_

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

// AVX-512 F, BW, DQ and VL: every AVX-512 machine since Skylake-X has the four.
namespace edgedet::EDGEDET_ISA::simd {

constexpr size_t kLanes = 16;

using F32 = __m512;
using I32 = __m512i;
using Mask = __mmask16;

inline F32 LoadF32(const float* p) { return _mm512_loadu_ps(p); }
inline void StoreF32(float* p, F32 a) { _mm512_storeu_ps(p, a); }
inline F32 SetF32(float a) { return _mm512_set1_ps(a); }
inline F32 Add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
inline F32 Sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
inline F32 Mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
inline F32 Div(F32 a, F32 b) { return _mm512_div_ps(a, b); }
inline F32 Min(F32 a, F32 b) { return _mm512_min_ps(a, b); }
inline F32 Max(F32 a, F32 b) { return _mm512_max_ps(a, b); }

inline Mask Greater(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
inline Mask AtLeast(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
inline Mask Or(Mask a, Mask b) { return static_cast<Mask>(a | b); }
inline uint32_t Bits(Mask a) { return a; }
inline bool Any(Mask a) { return a != 0; }
inline F32 Select(Mask mask, F32 a, F32 b) { return _mm512_mask_blend_ps(mask, b, a); }

inline I32 LoadI32(const int32_t* p) { return _mm512_loadu_si512(p); }
inline void StoreI32(int32_t* p, I32 a) { _mm512_storeu_si512(p, a); }
inline I32 SetI32(int32_t a) { return _mm512_set1_epi32(a); }
inline I32 AddI32(I32 a, I32 b) { return _mm512_add_epi32(a, b); }
inline I32 SubI32(I32 a, I32 b) { return _mm512_sub_epi32(a, b); }
template <int kCount>
inline I32 ShiftLeft(I32 a) {
  return _mm512_slli_epi32(a, kCount);
}
inline F32 ToF32(I32 a) { return _mm512_cvtepi32_ps(a); }
inline I32 RoundToI32(F32 a) { return _mm512_cvtps_epi32(a); }
inline F32 AsF32(I32 a) { return _mm512_castsi512_ps(a); }
inline I32 AsI32(F32 a) { return _mm512_castps_si512(a); }

inline __m128i LoadSixteenBytes(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
inline I32 LoadU8AsI32(const uint8_t* p) { return _mm512_cvtepu8_epi32(LoadSixteenBytes(p)); }
inline F32 LoadU8AsF32(const uint8_t* p) { return _mm512_cvtepi32_ps(LoadU8AsI32(p)); }
inline I32 LoadI8AsI32(const int8_t* p) { return _mm512_cvtepi8_epi32(LoadSixteenBytes(p)); }
inline I32 LoadI16AsI32(const int16_t* p) {
  return _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void StoreI32AsU8(uint8_t* p, I32 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
}
inline void StoreI32AsI8(int8_t* p, I32 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
}

inline uint64_t AtLeast64(const float* p, float threshold) {
  const __m512 limit = _mm512_set1_ps(threshold);
  uint64_t bits = 0;
  for (int i = 0; i < 64; i += 16) {
    const __mmask16 some = _mm512_cmp_ps_mask(_mm512_loadu_ps(p + i), limit, _CMP_GE_OQ);
    bits |= static_cast<uint64_t>(some) << i;
  }
  return bits;
}
inline uint64_t AtLeast64(const uint8_t* p, uint8_t threshold) {
  return _mm512_cmpge_epu8_mask(_mm512_loadu_si512(p),
                                _mm512_set1_epi8(static_cast<char>(threshold)));
}
inline uint64_t AtLeast64(const int8_t* p, int8_t threshold) {
  return _mm512_cmpge_epi8_mask(_mm512_loadu_si512(p), _mm512_set1_epi8(threshold));
}
inline uint64_t AtLeast64(const int16_t* p, int16_t threshold) {
  const __m512i limit = _mm512_set1_epi16(threshold);
  const uint64_t low = _mm512_cmpge_epi16_mask(_mm512_loadu_si512(p), limit);
  const uint64_t high = _mm512_cmpge_epi16_mask(_mm512_loadu_si512(p + 32), limit);
  return low | high << 32;
}

}  // namespace edgedet::EDGEDET_ISA::simd

#endif  // EDGEDET_SRC_SIMD_AVX512_H_
