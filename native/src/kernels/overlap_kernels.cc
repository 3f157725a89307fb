#include "kernels/overlap_kernels.h"

#include "simd/simd.h"

namespace edgedet::EDGEDET_ISA {
namespace {

using kernels::BoxBlock;
using kernels::kBlockBoxes;
using kernels::kNoBlock;

struct Query {
  simd::F32 x0, y0, x1, y1, area;
};

inline Query QueryOf(const Box& box, float area) {
  return {simd::SetF32(box.x0), simd::SetF32(box.y0), simd::SetF32(box.x1), simd::SetF32(box.y1),
          simd::SetF32(area)};
}

// Of kLanes of the block's boxes, from box `i` on.
inline simd::F32 Intersection(const Query& query, const BoxBlock& block, size_t i) {
  const simd::F32 zero = simd::SetF32(0.0f);
  const simd::F32 left = simd::Max(query.x0, simd::LoadF32(block.x0 + i));
  const simd::F32 top = simd::Max(query.y0, simd::LoadF32(block.y0 + i));
  const simd::F32 right = simd::Min(query.x1, simd::LoadF32(block.x1 + i));
  const simd::F32 bottom = simd::Min(query.y1, simd::LoadF32(block.y1 + i));
  const simd::F32 width = simd::Max(simd::Sub(right, left), zero);
  const simd::F32 height = simd::Max(simd::Sub(bottom, top), zero);
  return simd::Mul(width, height);
}

inline simd::F32 Union(const Query& query, const BoxBlock& block, size_t i,
                       simd::F32 intersection) {
  return simd::Sub(simd::Add(query.area, simd::LoadF32(block.area + i)), intersection);
}

bool OverlapsAny(const BoxBlock* blocks, uint32_t first, const Box& box, float area,
                 float threshold) {
  const Query query = QueryOf(box, area);
  const simd::F32 limit = simd::SetF32(threshold);
  for (uint32_t at = first; at != kNoBlock; at = blocks[at].next) {
    const BoxBlock& block = blocks[at];
    for (size_t i = 0; i < kBlockBoxes; i += simd::kLanes) {
      const simd::F32 intersection = Intersection(query, block, i);
      const simd::F32 all = Union(query, block, i, intersection);
      // Rounding keeps order: where the rounded quotient is greater than the threshold, this holds.
      // Elsewhere it rarely does, which saves the slow division.
      if (!simd::Any(simd::AtLeast(intersection, simd::Mul(limit, all)))) continue;
      if (simd::Any(simd::Greater(simd::Div(intersection, all), limit))) return true;
    }
  }
  return false;
}

uint32_t FindOverlaps(const BoxBlock* blocks, uint32_t at, const Box& box, float area,
                      float threshold, float overlaps[kBlockBoxes], uint32_t* greater) {
  const Query query = QueryOf(box, area);
  const simd::F32 limit = simd::SetF32(threshold);
  for (; at != kNoBlock; at = blocks[at].next) {
    const BoxBlock& block = blocks[at];
    uint32_t bits = 0;
    for (size_t i = 0; i < kBlockBoxes; i += simd::kLanes) {
      const simd::F32 intersection = Intersection(query, block, i);
      const simd::F32 overlap = simd::Div(intersection, Union(query, block, i, intersection));
      simd::StoreF32(overlaps + i, overlap);
      bits |= simd::Bits(simd::Greater(overlap, limit)) << i;
    }
    if (bits != 0) {
      *greater = bits;
      return at;
    }
  }
  return kNoBlock;
}

}  // namespace

extern const kernels::OverlapKernels kOverlap;
const kernels::OverlapKernels kOverlap = {OverlapsAny, FindOverlaps};

}  // namespace edgedet::EDGEDET_ISA
