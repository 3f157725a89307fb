#include "kernels/overlap_kernels.h"

#include "simd/simd.h"

namespace edgedet::EDGEDET_ISA {
namespace {

using kernels::BoxBlock;
using kernels::kBlockBoxes;
using kernels::kNoBlock;

bool OverlapsAny(const BoxBlock* blocks, uint32_t first, const Box& box, float area,
                 float threshold) {
  const simd::F32 x0 = simd::SetF32(box.x0);
  const simd::F32 y0 = simd::SetF32(box.y0);
  const simd::F32 x1 = simd::SetF32(box.x1);
  const simd::F32 y1 = simd::SetF32(box.y1);
  const simd::F32 own_area = simd::SetF32(area);
  const simd::F32 limit = simd::SetF32(threshold);
  const simd::F32 zero = simd::SetF32(0.0f);
  for (uint32_t at = first; at != kNoBlock; at = blocks[at].next) {
    const BoxBlock& block = blocks[at];
    for (size_t i = 0; i < kBlockBoxes; i += simd::kLanes) {
      const simd::F32 left = simd::Max(x0, simd::LoadF32(block.x0 + i));
      const simd::F32 top = simd::Max(y0, simd::LoadF32(block.y0 + i));
      const simd::F32 right = simd::Min(x1, simd::LoadF32(block.x1 + i));
      const simd::F32 bottom = simd::Min(y1, simd::LoadF32(block.y1 + i));
      const simd::F32 width = simd::Max(simd::Sub(right, left), zero);
      const simd::F32 height = simd::Max(simd::Sub(bottom, top), zero);
      const simd::F32 intersection = simd::Mul(width, height);
      const simd::F32 areas = simd::Add(own_area, simd::LoadF32(block.area + i));
      const simd::F32 overlap = simd::Div(intersection, simd::Sub(areas, intersection));
      if (simd::Any(simd::Greater(overlap, limit))) return true;
    }
  }
  return false;
}

}  // namespace

extern const kernels::OverlapKernels kOverlap;
const kernels::OverlapKernels kOverlap = {OverlapsAny};

}  // namespace edgedet::EDGEDET_ISA
