#ifndef EDGEDET_SRC_KERNELS_KERNELS_H_
#define EDGEDET_SRC_KERNELS_KERNELS_H_

#include "kernels/fusion_kernels.h"
#include "kernels/letterbox_kernels.h"
#include "kernels/overlap_kernels.h"
#include "kernels/scan_kernels.h"

namespace edgedet::kernels {

// The kernels of one instruction set.
struct Kernels {
  const char* isa;
  const FusionKernels* fusion;
  const LetterboxKernels* letterbox;
  const OverlapKernels* overlap;
  const ScanKernels* scan;
};

}  // namespace edgedet::kernels

#endif  // EDGEDET_SRC_KERNELS_KERNELS_H_
