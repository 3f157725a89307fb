#include "kernels/overlap_kernels.h"

namespace edgedet::kernels {
namespace {

float Min(float a, float b) { return a < b ? a : b; }
float Max(float a, float b) { return a > b ? a : b; }

}  // namespace

float Area(const Box& box) { return Max(box.x1 - box.x0, 0.0f) * Max(box.y1 - box.y0, 0.0f); }

bool OverlapsAny(const BoxBlock* blocks, uint32_t first, const Box& box, float area,
                 float threshold) {
  for (uint32_t at = first; at != kNoBlock; at = blocks[at].next) {
    const BoxBlock& block = blocks[at];
    int32_t hits = 0;
    for (int i = 0; i < kBlockBoxes; ++i) {
      const float width = Max(Min(box.x1, block.x1[i]) - Max(box.x0, block.x0[i]), 0.0f);
      const float height = Max(Min(box.y1, block.y1[i]) - Max(box.y0, block.y0[i]), 0.0f);
      const float intersection = width * height;
      const float overlap = intersection / (area + block.area[i] - intersection);
      hits |= overlap > threshold ? 1 : 0;
    }
    if (hits != 0) return true;
  }
  return false;
}

}  // namespace edgedet::kernels
