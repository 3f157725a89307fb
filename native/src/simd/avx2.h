#ifndef EDGEDET_SRC_SIMD_AVX2_H_
#define EDGEDET_SRC_SIMD_AVX2_H_

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace edgedet::EDGEDET_ISA::simd {

constexpr size_t kLanes = 8;

using F32 = __m256;
using I32 = __m256i;
struct Mask {
  __m256 bits;
};

inline F32 LoadF32(const float* p) { return _mm256_loadu_ps(p); }
inline void StoreF32(float* p, F32 a) { _mm256_storeu_ps(p, a); }
inline F32 SetF32(float a) { return _mm256_set1_ps(a); }
inline F32 Add(F32 a, F32 b) { return _mm256_add_ps(a, b); }
inline F32 Sub(F32 a, F32 b) { return _mm256_sub_ps(a, b); }
inline F32 Mul(F32 a, F32 b) { return _mm256_mul_ps(a, b); }
inline F32 Div(F32 a, F32 b) { return _mm256_div_ps(a, b); }
inline F32 Min(F32 a, F32 b) { return _mm256_min_ps(a, b); }
inline F32 Max(F32 a, F32 b) { return _mm256_max_ps(a, b); }

inline Mask Greater(F32 a, F32 b) { return {_mm256_cmp_ps(a, b, _CMP_GT_OQ)}; }
inline Mask AtLeast(F32 a, F32 b) { return {_mm256_cmp_ps(a, b, _CMP_GE_OQ)}; }
inline Mask Or(Mask a, Mask b) { return {_mm256_or_ps(a.bits, b.bits)}; }
inline uint32_t Bits(Mask a) { return static_cast<uint32_t>(_mm256_movemask_ps(a.bits)); }
inline bool Any(Mask a) { return Bits(a) != 0; }
inline F32 Select(Mask mask, F32 a, F32 b) { return _mm256_blendv_ps(b, a, mask.bits); }

inline I32 LoadI32(const int32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline void StoreI32(int32_t* p, I32 a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a); }
inline I32 SetI32(int32_t a) { return _mm256_set1_epi32(a); }
inline I32 AddI32(I32 a, I32 b) { return _mm256_add_epi32(a, b); }
inline I32 SubI32(I32 a, I32 b) { return _mm256_sub_epi32(a, b); }
template <int kCount>
inline I32 ShiftLeft(I32 a) {
  return _mm256_slli_epi32(a, kCount);
}
inline F32 ToF32(I32 a) { return _mm256_cvtepi32_ps(a); }
inline I32 RoundToI32(F32 a) { return _mm256_cvtps_epi32(a); }
inline F32 AsF32(I32 a) { return _mm256_castsi256_ps(a); }
inline I32 AsI32(F32 a) { return _mm256_castps_si256(a); }

inline __m128i LoadEightBytes(const void* p) {
  return _mm_loadl_epi64(static_cast<const __m128i*>(p));
}
inline I32 LoadU8AsI32(const uint8_t* p) { return _mm256_cvtepu8_epi32(LoadEightBytes(p)); }
inline F32 LoadU8AsF32(const uint8_t* p) { return _mm256_cvtepi32_ps(LoadU8AsI32(p)); }
inline I32 LoadI8AsI32(const int8_t* p) { return _mm256_cvtepi8_epi32(LoadEightBytes(p)); }
inline I32 LoadI16AsI32(const int16_t* p) {
  return _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline __m128i PackWords(I32 a) {
  return _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
}
inline void StoreI32AsU8(uint8_t* p, I32 a) {
  const __m128i words = PackWords(a);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}
inline void StoreI32AsI8(int8_t* p, I32 a) {
  const __m128i words = PackWords(a);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}

constexpr size_t kQuads = 2;
using QuadsF32 = F32;
using QuadsI32 = I32;

inline QuadsF32 LoadPackedQuads(const float* p) { return LoadF32(p); }
inline QuadsF32 LoadQuads(const float* p, const int32_t* at) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + at[0])),
                              _mm_loadu_ps(p + at[1]), 1);
}
inline QuadsF32 SpreadQuads(const float* p, const int32_t* at) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_broadcast_ss(p + at[0])),
                              _mm_broadcast_ss(p + at[1]), 1);
}
inline QuadsF32 RepeatQuad(const float* p) {
  return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(p));
}
inline QuadsF32 SetQuads(float a) { return SetF32(a); }
inline QuadsI32 SetQuadsI32(int32_t a) { return SetI32(a); }
inline QuadsF32 SwapFirstAndThird(QuadsF32 a) { return _mm256_permute_ps(a, 0xC6); }
inline void StoreTriples(float* p, QuadsF32 a) {
  _mm256_storeu_ps(p, _mm256_permutevar8x32_ps(a, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7)));
}
inline void StoreTriples(void* p, __m128i bytes) {
  const __m128i firsts = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 7, 7, 8, 8, 8, 8, 8, 8, 8, 8);
  _mm_storel_epi64(static_cast<__m128i*>(p), _mm_shuffle_epi8(bytes, firsts));
}
inline void StoreTriples(uint8_t* p, QuadsI32 a) {
  const __m128i words = PackWords(a);
  StoreTriples(static_cast<void*>(p), _mm_packus_epi16(words, words));
}
inline void StoreTriples(int8_t* p, QuadsI32 a) {
  const __m128i words = PackWords(a);
  StoreTriples(static_cast<void*>(p), _mm_packs_epi16(words, words));
}

inline uint64_t AtLeast64(const float* p, float threshold) {
  const __m256 limit = _mm256_set1_ps(threshold);
  uint64_t bits = 0;
  for (int i = 0; i < 64; i += 8) {
    const __m256 at_least = _mm256_cmp_ps(_mm256_loadu_ps(p + i), limit, _CMP_GE_OQ);
    bits |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_ps(at_least))) << i;
  }
  return bits;
}
inline uint64_t AtLeast64(const uint8_t* p, uint8_t threshold) {
  const __m256i limit = _mm256_set1_epi8(static_cast<char>(threshold));
  uint64_t bits = 0;
  for (int i = 0; i < 64; i += 32) {
    const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i));
    const int some =
        _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(values, limit), values));
    bits |= static_cast<uint64_t>(static_cast<uint32_t>(some)) << i;
  }
  return bits;
}
inline uint64_t AtLeast64(const int8_t* p, int8_t threshold) {
  const __m256i limit = _mm256_set1_epi8(threshold);
  uint64_t below = 0;
  for (int i = 0; i < 64; i += 32) {
    const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i));
    const int some = _mm256_movemask_epi8(_mm256_cmpgt_epi8(limit, values));
    below |= static_cast<uint64_t>(static_cast<uint32_t>(some)) << i;
  }
  return ~below;
}
inline uint64_t AtLeast64(const int16_t* p, int16_t threshold) {
  const __m256i limit = _mm256_set1_epi16(threshold);
  uint64_t below = 0;
  for (int i = 0; i < 64; i += 32) {
    const auto* from = reinterpret_cast<const __m256i*>(p + i);
    const __m256i low = _mm256_cmpgt_epi16(limit, _mm256_loadu_si256(from));
    const __m256i high = _mm256_cmpgt_epi16(limit, _mm256_loadu_si256(from + 1));
    // Packing works within 128-bit halves: the quarters come out as 0, 2, 1, 3.
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xD8);
    below |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(packed))) << i;
  }
  return ~below;
}

}  // namespace edgedet::EDGEDET_ISA::simd

#endif  // EDGEDET_SRC_SIMD_AVX2_H_
