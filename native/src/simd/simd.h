#ifndef EDGEDET_SRC_SIMD_SIMD_H_
#define EDGEDET_SRC_SIMD_SIMD_H_

// The vector operations of the instruction set that this unit is compiled for. The build gives
// EDGEDET_ISA, the name of a namespace, and EDGEDET_SIMD_HEADER, the file that fills it.
//
// Every header defines the same names, in namespace edgedet::EDGEDET_ISA::simd:
//   kLanes                   32-bit lanes of a vector
//   F32, I32, Mask           a vector of floats, of 32-bit integers, of truth values
//   LoadF32, StoreF32 ...    unaligned
//   Min(a, b), Max(a, b)     a < b ? a : b and a > b ? a : b, also for NaN and signed zeros
//   RoundToI32(a)            half to even; |a| must be below 2^22
//   LoadU8AsF32 ...          kLanes narrow elements, widened
//   StoreI32AsI8 ...         kLanes elements that fit, narrowed
//   kQuads                   groups of four lanes in a vector of QuadsF32 or QuadsI32
//   LoadQuads(p, at)         the four floats from p[at[i]] on, for each group i
//   SpreadQuads(p, at)       p[at[i]] four times, for each group i
//   RepeatQuad(p)            the same four floats in every group
//   StoreTriples(p, a)       each group's first three lanes, packed; 4 * kQuads are written
//   AtLeast64(p, threshold)  bit i says whether p[i] >= threshold, of 64; NaN is not
// Only operations whose result IEEE 754 or integer arithmetic fixes belong here: no fused
// multiply-add, no reciprocal estimates. So every instruction set gives the same bits.
//
// Units compiled for an instruction set must not instantiate templates or inline functions that
// other units share: the linker keeps one copy for all, perhaps one that the machine can't run.

#include EDGEDET_SIMD_HEADER

#endif  // EDGEDET_SRC_SIMD_SIMD_H_
