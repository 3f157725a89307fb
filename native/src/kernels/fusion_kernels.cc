#include "kernels/fusion_kernels.h"

#include "simd/simd.h"

namespace edgedet::EDGEDET_ISA {
namespace {

using kernels::FusionStore;
using kernels::FusionTerm;
using simd::F32;
using simd::I32;
using simd::kLanes;
using simd::SetF32;

// exp(x) for x of -87 to 88, within 1 ULP: x = n ln 2 + r with |r| <= ln 2 / 2, and
// exp(r) = 1 + r + r^2 q(r), where q is a minimax polynomial of degree 4 (relative error 3e-9).
// Each operation rounds once, in this order, on every instruction set.
inline F32 Exp(F32 x) {
  const I32 n = simd::RoundToI32(simd::Mul(x, SetF32(1.44269504f)));
  const F32 whole = simd::ToF32(n);
  // ln 2 in two parts; the first has so few bits that its product with n is exact.
  F32 r = simd::Sub(x, simd::Mul(whole, SetF32(0.693115234375f)));
  r = simd::Sub(r, simd::Mul(whole, SetF32(3.19461849e-5f)));
  F32 q = SetF32(0.00138145394f);
  q = simd::Add(simd::Mul(q, r), SetF32(0.00836874545f));
  q = simd::Add(simd::Mul(q, r), SetF32(0.041668389f));
  q = simd::Add(simd::Mul(q, r), SetF32(0.166665211f));
  q = simd::Add(simd::Mul(q, r), SetF32(0.49999994f));
  const F32 power = simd::Add(simd::Add(simd::Mul(simd::Mul(r, r), q), r), SetF32(1.0f));
  // 2^n, put together from its bits.
  const I32 exponent = simd::ShiftLeft<23>(simd::AddI32(n, simd::SetI32(127)));
  return simd::Mul(power, simd::AsF32(exponent));
}

// x / (1 + exp(-x)). Below -88 it is less than 1e-36, and exp(-x) has no float32.
inline F32 Swish(F32 x) {
  const F32 negative = simd::Sub(SetF32(0.0f), x);
  const F32 bounded = simd::Max(simd::Min(negative, SetF32(88.0f)), SetF32(-87.0f));
  const F32 swish = simd::Div(x, simd::Add(SetF32(1.0f), Exp(bounded)));
  return simd::Select(simd::Greater(SetF32(-88.0f), x), SetF32(0.0f), swish);
}

template <Activation kActivation>
inline F32 Activate(F32 x) {
  const F32 zero = SetF32(0.0f);
  const F32 six = SetF32(6.0f);
  if constexpr (kActivation == Activation::kRelu) return simd::Max(x, zero);
  if constexpr (kActivation == Activation::kRelu6) return simd::Min(simd::Max(x, zero), six);
  if constexpr (kActivation == Activation::kSwish) return Swish(x);
  if constexpr (kActivation == Activation::kHardSwish) {
    const F32 gate = simd::Min(simd::Max(simd::Add(x, SetF32(3.0f)), zero), six);
    return simd::Mul(x, simd::Mul(gate, SetF32(1.0f / 6.0f)));
  }
  return x;
}

inline F32 Load(const float* values, I32) { return simd::LoadF32(values); }
inline F32 Load(const int8_t* values, I32 offset) {
  return simd::ToF32(simd::SubI32(simd::LoadI8AsI32(values), offset));
}

inline void Store(F32 value, const FusionStore*, float* out) { simd::StoreF32(out, value); }
inline void Store(F32 value, const FusionStore* store, int8_t* out) {
  F32 scaled = simd::Mul(value, SetF32(store->gain));
  scaled = simd::Min(simd::Max(scaled, SetF32(store->low)), SetF32(store->high));
  const I32 rounded = simd::RoundToI32(scaled);
  simd::StoreI32AsI8(out, simd::AddI32(rounded, simd::SetI32(store->zero_point)));
}

template <typename T, Activation kActivation>
inline void FuseVector(const FusionTerm<T>* terms, size_t term_count, const FusionStore* store,
                       size_t at, T* out) {
  F32 sum =
      simd::Mul(SetF32(terms[0].factor), Load(terms[0].values + at, simd::SetI32(terms[0].offset)));
  for (size_t t = 1; t < term_count; ++t) {
    const F32 values = Load(terms[t].values + at, simd::SetI32(terms[t].offset));
    sum = simd::Add(sum, simd::Mul(SetF32(terms[t].factor), values));
  }
  Store(Activate<kActivation>(sum), store, out);
}

// The number of terms is a constant where it is a small one, so that factors stay in registers.
template <typename T, Activation kActivation>
inline void FuseVectors(const FusionTerm<T>* terms, size_t term_count, const FusionStore* store,
                        size_t count, T* __restrict out) {
  for (size_t i = 0; i + kLanes <= count; i += kLanes) {
    FuseVector<T, kActivation>(terms, term_count, store, i, out + i);
  }
}

// `kernels::kMaxFusionInputs` addends at most.
template <typename T, Activation kActivation>
void Fuse(const FusionTerm<T>* terms, size_t term_count, const FusionStore* store, size_t count,
          T* out) {
  // A copy of its own: the compiler sees that storing elements does not change the factors.
  FusionTerm<T> own[kMaxFusionInputs];
  for (size_t t = 0; t < term_count; ++t) own[t] = terms[t];
  switch (term_count) {
    case 2:
      FuseVectors<T, kActivation>(own, 2, store, count, out);
      break;
    case 3:
      FuseVectors<T, kActivation>(own, 3, store, count, out);
      break;
    default:
      FuseVectors<T, kActivation>(own, term_count, store, count, out);
  }
  const size_t rest = count % kLanes;
  if (rest == 0) return;
  if (count > kLanes) {
    // Once more for the last full vector: what it overlaps comes out the same.
    FuseVector<T, kActivation>(own, term_count, store, count - kLanes, out + count - kLanes);
    return;
  }
  T padded[kMaxFusionInputs][kLanes] = {};
  T fused[kLanes];
  for (size_t t = 0; t < term_count; ++t) {
    __builtin_memcpy(padded[t], own[t].values, rest * sizeof(T));
    own[t].values = padded[t];
  }
  FuseVector<T, kActivation>(own, term_count, store, 0, fused);
  __builtin_memcpy(out, fused, rest * sizeof(T));
}

template <typename T>
void FuseBy(Activation activation, const FusionTerm<T>* terms, size_t term_count,
            const FusionStore* store, size_t count, T* out) {
  switch (activation) {
    case Activation::kNone:
      return Fuse<T, Activation::kNone>(terms, term_count, store, count, out);
    case Activation::kRelu:
      return Fuse<T, Activation::kRelu>(terms, term_count, store, count, out);
    case Activation::kRelu6:
      return Fuse<T, Activation::kRelu6>(terms, term_count, store, count, out);
    case Activation::kSwish:
      return Fuse<T, Activation::kSwish>(terms, term_count, store, count, out);
    case Activation::kHardSwish:
      return Fuse<T, Activation::kHardSwish>(terms, term_count, store, count, out);
  }
}

void FuseF32(const FusionTerm<float>* terms, size_t term_count, Activation activation, size_t count,
             float* out) {
  FuseBy(activation, terms, term_count, static_cast<const FusionStore*>(nullptr), count, out);
}

void FuseI8(const FusionTerm<int8_t>* terms, size_t term_count, Activation activation,
            const FusionStore& store, size_t count, int8_t* out) {
  const FusionStore own = store;
  FuseBy(activation, terms, term_count, &own, count, out);
}

template <typename T>
void Max(const T* __restrict other, size_t count, T* __restrict larger) {
  for (size_t i = 0; i < count; ++i) larger[i] = larger[i] > other[i] ? larger[i] : other[i];
}

}  // namespace

extern const kernels::FusionKernels kFusion;
const kernels::FusionKernels kFusion = {FuseF32, FuseI8, Max<float>, Max<int8_t>};

}  // namespace edgedet::EDGEDET_ISA
