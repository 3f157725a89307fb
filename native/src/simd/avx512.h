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

constexpr size_t kQuads = 4;
using QuadsF32 = F32;
using QuadsI32 = I32;

inline F32 JoinQuads(__m128 a, __m128 b, __m128 c, __m128 d) {
  const __m256 low = _mm256_insertf128_ps(_mm256_castps128_ps256(a), b, 1);
  const __m256 high = _mm256_insertf128_ps(_mm256_castps128_ps256(c), d, 1);
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
inline QuadsF32 LoadPackedQuads(const float* p) { return LoadF32(p); }
inline QuadsF32 LoadQuads(const float* p, const int32_t* at) {
  return JoinQuads(_mm_loadu_ps(p + at[0]), _mm_loadu_ps(p + at[1]), _mm_loadu_ps(p + at[2]),
                   _mm_loadu_ps(p + at[3]));
}
inline QuadsF32 SpreadQuads(const float* p, const int32_t* at) {
  return JoinQuads(_mm_broadcast_ss(p + at[0]), _mm_broadcast_ss(p + at[1]),
                   _mm_broadcast_ss(p + at[2]), _mm_broadcast_ss(p + at[3]));
}
inline QuadsF32 RepeatQuad(const float* p) {
  const __m128 quad = _mm_loadu_ps(p);
  return JoinQuads(quad, quad, quad, quad);
}
inline QuadsF32 SetQuads(float a) { return SetF32(a); }
inline QuadsI32 SetQuadsI32(int32_t a) { return SetI32(a); }
inline QuadsF32 SwapFirstAndThird(QuadsF32 a) { return _mm512_permute_ps(a, 0xC6); }
inline void StoreTriples(float* p, QuadsF32 a) {
  const __m512i firsts = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15, 15, 15, 15);
  _mm512_storeu_ps(p, _mm512_permutexvar_ps(firsts, a));
}
inline void StoreTriplesAsBytes(void* p, QuadsI32 a) {
  const __m128i firsts = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15, 15, 15, 15);
  const __m128i bytes = _mm_shuffle_epi8(_mm512_cvtepi32_epi8(a), firsts);
  _mm_storeu_si128(static_cast<__m128i*>(p), bytes);
}
inline void StoreTriples(uint8_t* p, QuadsI32 a) { StoreTriplesAsBytes(p, a); }
inline void StoreTriples(int8_t* p, QuadsI32 a) { StoreTriplesAsBytes(p, a); }

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
