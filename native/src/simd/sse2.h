#ifndef EDGEDET_SRC_SIMD_SSE2_H_
#define EDGEDET_SRC_SIMD_SSE2_H_

#include <emmintrin.h>

#include <cstddef>
#include <cstdint>

// The baseline of x86-64.
namespace edgedet::EDGEDET_ISA::simd {

constexpr size_t kLanes = 4;

using F32 = __m128;
using I32 = __m128i;
struct Mask {
  __m128 bits;
};

inline F32 LoadF32(const float* p) { return _mm_loadu_ps(p); }
inline void StoreF32(float* p, F32 a) { _mm_storeu_ps(p, a); }
inline F32 SetF32(float a) { return _mm_set1_ps(a); }
inline F32 Add(F32 a, F32 b) { return _mm_add_ps(a, b); }
inline F32 Sub(F32 a, F32 b) { return _mm_sub_ps(a, b); }
inline F32 Mul(F32 a, F32 b) { return _mm_mul_ps(a, b); }
inline F32 Div(F32 a, F32 b) { return _mm_div_ps(a, b); }
inline F32 Min(F32 a, F32 b) { return _mm_min_ps(a, b); }
inline F32 Max(F32 a, F32 b) { return _mm_max_ps(a, b); }

inline Mask Greater(F32 a, F32 b) { return {_mm_cmpgt_ps(a, b)}; }
inline Mask AtLeast(F32 a, F32 b) { return {_mm_cmpge_ps(a, b)}; }
inline Mask Or(Mask a, Mask b) { return {_mm_or_ps(a.bits, b.bits)}; }
inline uint32_t Bits(Mask a) { return static_cast<uint32_t>(_mm_movemask_ps(a.bits)); }
inline bool Any(Mask a) { return Bits(a) != 0; }
inline F32 Select(Mask mask, F32 a, F32 b) {
  return _mm_or_ps(_mm_and_ps(mask.bits, a), _mm_andnot_ps(mask.bits, b));
}

inline I32 LoadI32(const int32_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
inline void StoreI32(int32_t* p, I32 a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), a); }
inline I32 SetI32(int32_t a) { return _mm_set1_epi32(a); }
inline I32 AddI32(I32 a, I32 b) { return _mm_add_epi32(a, b); }
inline I32 SubI32(I32 a, I32 b) { return _mm_sub_epi32(a, b); }
template <int kCount>
inline I32 ShiftLeft(I32 a) {
  return _mm_slli_epi32(a, kCount);
}
inline F32 ToF32(I32 a) { return _mm_cvtepi32_ps(a); }
inline I32 RoundToI32(F32 a) { return _mm_cvtps_epi32(a); }
inline F32 AsF32(I32 a) { return _mm_castsi128_ps(a); }
inline I32 AsI32(F32 a) { return _mm_castps_si128(a); }

inline I32 LoadU8AsI32(const uint8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof(four));
  const __m128i zero = _mm_setzero_si128();
  return _mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(four), zero), zero);
}
inline F32 LoadU8AsF32(const uint8_t* p) { return _mm_cvtepi32_ps(LoadU8AsI32(p)); }
inline I32 LoadI8AsI32(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof(four));
  const __m128i bytes = _mm_cvtsi32_si128(four);
  const __m128i words = _mm_unpacklo_epi8(bytes, bytes);
  return _mm_srai_epi32(_mm_unpacklo_epi16(words, words), 24);
}
inline I32 LoadI16AsI32(const int16_t* p) {
  const __m128i words = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm_srai_epi32(_mm_unpacklo_epi16(words, words), 16);
}
inline void StoreI32AsU8(uint8_t* p, I32 a) {
  const __m128i words = _mm_packs_epi32(a, a);
  const int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
  __builtin_memcpy(p, &four, sizeof(four));
}
inline void StoreI32AsI8(int8_t* p, I32 a) {
  const __m128i words = _mm_packs_epi32(a, a);
  const int32_t four = _mm_cvtsi128_si32(_mm_packs_epi16(words, words));
  __builtin_memcpy(p, &four, sizeof(four));
}

constexpr size_t kQuads = 1;
using QuadsF32 = F32;
using QuadsI32 = I32;

inline QuadsF32 LoadPackedQuads(const float* p) { return LoadF32(p); }
inline QuadsF32 LoadQuads(const float* p, const int32_t* at) { return LoadF32(p + at[0]); }
inline QuadsF32 SpreadQuads(const float* p, const int32_t* at) { return _mm_set1_ps(p[at[0]]); }
inline QuadsF32 RepeatQuad(const float* p) { return LoadF32(p); }
inline QuadsF32 SetQuads(float a) { return SetF32(a); }
inline QuadsI32 SetQuadsI32(int32_t a) { return SetI32(a); }
inline QuadsF32 SwapFirstAndThird(QuadsF32 a) { return _mm_shuffle_ps(a, a, 0xC6); }
inline void StoreTriples(float* p, QuadsF32 a) { StoreF32(p, a); }
inline void StoreTriples(uint8_t* p, QuadsI32 a) { StoreI32AsU8(p, a); }
inline void StoreTriples(int8_t* p, QuadsI32 a) { StoreI32AsI8(p, a); }

inline uint64_t AtLeast64(const float* p, float threshold) {
  const __m128 limit = _mm_set1_ps(threshold);
  uint64_t bits = 0;
  for (int i = 0; i < 64; i += 4) {
    const int four = _mm_movemask_ps(_mm_cmpge_ps(_mm_loadu_ps(p + i), limit));
    bits |= static_cast<uint64_t>(four) << i;
  }
  return bits;
}
inline uint64_t AtLeast64(const uint8_t* p, uint8_t threshold) {
  const __m128i limit = _mm_set1_epi8(static_cast<char>(threshold));
  uint64_t bits = 0;
  for (int i = 0; i < 64; i += 16) {
    const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i));
    const int some = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(values, limit), values));
    bits |= static_cast<uint64_t>(static_cast<uint32_t>(some)) << i;
  }
  return bits;
}
inline uint64_t AtLeast64(const int8_t* p, int8_t threshold) {
  const __m128i limit = _mm_set1_epi8(threshold);
  uint64_t below = 0;
  for (int i = 0; i < 64; i += 16) {
    const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i));
    const int some = _mm_movemask_epi8(_mm_cmpgt_epi8(limit, values));
    below |= static_cast<uint64_t>(static_cast<uint32_t>(some)) << i;
  }
  return ~below;
}
inline uint64_t AtLeast64(const int16_t* p, int16_t threshold) {
  const __m128i limit = _mm_set1_epi16(threshold);
  uint64_t below = 0;
  for (int i = 0; i < 64; i += 16) {
    const auto* from = reinterpret_cast<const __m128i*>(p + i);
    const __m128i low = _mm_cmpgt_epi16(limit, _mm_loadu_si128(from));
    const __m128i high = _mm_cmpgt_epi16(limit, _mm_loadu_si128(from + 1));
    const int some = _mm_movemask_epi8(_mm_packs_epi16(low, high));
    below |= static_cast<uint64_t>(static_cast<uint32_t>(some)) << i;
  }
  return ~below;
}

}  // namespace edgedet::EDGEDET_ISA::simd

#endif  // EDGEDET_SRC_SIMD_SSE2_H_
