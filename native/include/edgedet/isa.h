#ifndef EDGEDET_ISA_H_
#define EDGEDET_ISA_H_

#include <cstddef>

namespace edgedet {

// Name of the instruction set that the kernels use: the environment variable EDGEDET_FORCE_ISA
// where it names one that this build has and this machine runs, else the best of those. It is read
// once, at the first call of the library.
const char* ActiveIsa();

// Names of the instruction sets that this build has and this machine runs, best first. Returns how
// many there are and writes at most `capacity` of them.
size_t AvailableIsas(const char** names, size_t capacity);

}  // namespace edgedet

#endif  // EDGEDET_ISA_H_
