#ifndef EDGEDET_SRC_DISPATCH_H_
#define EDGEDET_SRC_DISPATCH_H_

#include <cstddef>

#include "kernels/kernels.h"

namespace edgedet {

// The kernels that the library uses, chosen at the first call (see edgedet/isa.h).
const kernels::Kernels& ActiveKernels();

constexpr size_t kMaxIsas = 4;

struct AvailableKernels {
  const kernels::Kernels* best_first[kMaxIsas];
  size_t count;
};

// What this build has and this machine runs; the last is the scalar reference.
AvailableKernels FindAvailableKernels();

}  // namespace edgedet

#endif  // EDGEDET_SRC_DISPATCH_H_
