#include "dispatch.h"

#include <cstdlib>
#include <cstring>

#include "edgedet/isa.h"

// Each instruction set's units define these tables in a namespace of their own.
#define EDGEDET_DECLARE_KERNELS(isa)                                                           \
  namespace edgedet::isa {                                                                     \
  extern const kernels::FusionKernels kFusion;                                                 \
  extern const kernels::LetterboxKernels kLetterbox;                                           \
  extern const kernels::OverlapKernels kOverlap;                                               \
  extern const kernels::ScanKernels kScan;                                                     \
  }                                                                                            \
  namespace edgedet {                                                                          \
  constexpr kernels::Kernels k_##isa = {#isa, &isa::kFusion, &isa::kLetterbox, &isa::kOverlap, \
                                        &isa::kScan};                                          \
  }

EDGEDET_DECLARE_KERNELS(scalar)
#if defined(__x86_64__)
EDGEDET_DECLARE_KERNELS(sse2)
EDGEDET_DECLARE_KERNELS(avx2)
EDGEDET_DECLARE_KERNELS(avx512)
#elif defined(__aarch64__)
EDGEDET_DECLARE_KERNELS(neon)
#endif

namespace edgedet {
namespace {

const kernels::Kernels& Choose() {
  const AvailableKernels available = FindAvailableKernels();
  if (const char* forced = std::getenv("EDGEDET_FORCE_ISA")) {
    for (size_t i = 0; i < available.count; ++i) {
      if (std::strcmp(available.best_first[i]->isa, forced) == 0) return *available.best_first[i];
    }
  }
  return *available.best_first[0];
}

}  // namespace

AvailableKernels FindAvailableKernels() {
  AvailableKernels found = {};
  const auto add = [&](const kernels::Kernels& kernels) {
    found.best_first[found.count++] = &kernels;
  };
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    add(k_avx512);
  }
  if (__builtin_cpu_supports("avx2")) add(k_avx2);
  add(k_sse2);
#elif defined(__aarch64__)
  add(k_neon);
#endif
  add(k_scalar);
  return found;
}

const kernels::Kernels& ActiveKernels() {
  static const kernels::Kernels& chosen = Choose();
  return chosen;
}

const char* ActiveIsa() { return ActiveKernels().isa; }

size_t AvailableIsas(const char** names, size_t capacity) {
  const AvailableKernels available = FindAvailableKernels();
  for (size_t i = 0; i < available.count && i < capacity; ++i) {
    names[i] = available.best_first[i]->isa;
  }
  return available.count;
}

}  // namespace edgedet
