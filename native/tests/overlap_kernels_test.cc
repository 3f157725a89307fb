#include "kernels/overlap_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "dispatch.h"

namespace edgedet {
namespace {

using kernels::BoxBlock;
using kernels::kBlockBoxes;
using kernels::kNoBlock;

// A list of blocks in which many boxes share edges, are empty, inverted or have huge coordinates.
std::vector<BoxBlock> SomeBlocks(std::mt19937* random, uint32_t count) {
  const auto coordinate = [&] {
    const int kind = static_cast<int>((*random)() % 40);
    const float small = static_cast<float>((*random)() % 64) / 4.0f;
    return kind == 0 ? 3e38f : kind == 1 ? -3e38f : kind == 2 ? 1e-40f : small;
  };
  std::vector<BoxBlock> blocks(count);
  for (uint32_t b = 0; b < count; ++b) {
    blocks[b] = {};
    blocks[b].next = b + 1 < count ? b + 1 : kNoBlock;
    const int used = b + 1 < count ? kBlockBoxes : 5;
    for (int i = 0; i < used; ++i) {
      Box box = {coordinate(), coordinate(), coordinate(), coordinate()};
      if ((*random)() % 8 != 0) {
        if (box.x0 > box.x1) std::swap(box.x0, box.x1);
        if (box.y0 > box.y1) std::swap(box.y0, box.y1);
      }
      blocks[b].x0[i] = box.x0;
      blocks[b].y0[i] = box.y0;
      blocks[b].x1[i] = box.x1;
      blocks[b].y1[i] = box.y1;
      blocks[b].area[i] = Area(box);
    }
  }
  return blocks;
}

float Iou(const Box& a, const BoxBlock& block, int i) {
  const float width = std::fmin(a.x1, block.x1[i]) - std::fmax(a.x0, block.x0[i]);
  const float height = std::fmin(a.y1, block.y1[i]) - std::fmax(a.y0, block.y0[i]);
  const float common = (width > 0.0f ? width : 0.0f) * (height > 0.0f ? height : 0.0f);
  return common / (Area(a) + block.area[i] - common);
}

TEST(OverlapKernels, EveryInstructionSetAgreesWithTheDefinition) {
  std::mt19937 random(11);
  const AvailableKernels available = FindAvailableKernels();
  int suppressed = 0;
  for (int round = 0; round < 2000; ++round) {
    const std::vector<BoxBlock> blocks = SomeBlocks(&random, 1 + random() % 4);
    const BoxBlock& model = blocks[random() % blocks.size()];
    const int twin = static_cast<int>(random() % kBlockBoxes);
    const float nudge = random() % 2 == 0 ? 0.0f : 0.25f;
    const Box box = {model.x0[twin] + nudge, model.y0[twin], model.x1[twin] + nudge,
                     model.y1[twin]};
    // Exactly an IoU that often occurs, and the next smaller threshold.
    const float iou = Iou(box, blocks[0], static_cast<int>(random() % kBlockBoxes));
    const float some = iou > 0.0f && iou <= 1.0f ? iou : 0.9f;
    const float thresholds[] = {0.0f, 0.3f, 0.5f, 1.0f, some, std::nextafter(some, 0.0f)};
    for (const float threshold : thresholds) {
      uint32_t first = kNoBlock;
      uint32_t bits = 0;
      for (uint32_t b = 0; b < blocks.size() && first == kNoBlock; ++b) {
        for (int i = 0; i < kBlockBoxes; ++i) {
          if (Iou(box, blocks[b], i) > threshold) bits |= 1u << i;
        }
        if (bits != 0) first = b;
      }
      suppressed += first != kNoBlock ? 1 : 0;
      for (size_t k = 0; k < available.count; ++k) {
        const kernels::OverlapKernels& kernel = *available.best_first[k]->overlap;
        const char* isa = available.best_first[k]->isa;
        EXPECT_EQ(kernel.overlaps_any(blocks.data(), 0, box, Area(box), threshold),
                  first != kNoBlock)
            << isa;
        float overlaps[kBlockBoxes];
        uint32_t greater = 0;
        ASSERT_EQ(
            kernel.find_overlaps(blocks.data(), 0, box, Area(box), threshold, overlaps, &greater),
            first)
            << isa;
        if (first == kNoBlock) continue;
        EXPECT_EQ(greater, bits) << isa;
        for (int i = 0; i < kBlockBoxes; ++i) {
          if ((bits >> i & 1) == 0) continue;
          const float expected = Iou(box, blocks[first], i);
          EXPECT_EQ(std::memcmp(&overlaps[i], &expected, sizeof(float)), 0) << isa;
        }
      }
    }
  }
  EXPECT_GT(suppressed, 3000);
  EXPECT_LT(suppressed, 11000);
}

TEST(OverlapKernels, TheThresholdIsExact) {
  std::mt19937 random(12);
  const AvailableKernels available = FindAvailableKernels();
  for (int round = 0; round < 2000; ++round) {
    const auto side = [&] { return static_cast<float>(1 + random() % 999) / 8.0f; };
    const Box kept = {0, 0, side(), side()};
    const Box box = {0, 0, side(), side()};
    BoxBlock block = {};
    block.next = kNoBlock;
    block.x1[3] = kept.x1;
    block.y1[3] = kept.y1;
    block.area[3] = Area(kept);
    const float iou = Iou(box, block, 3);
    for (size_t k = 0; k < available.count; ++k) {
      const kernels::OverlapKernels& kernel = *available.best_first[k]->overlap;
      EXPECT_FALSE(kernel.overlaps_any(&block, 0, box, Area(box), iou));
      EXPECT_TRUE(kernel.overlaps_any(&block, 0, box, Area(box), std::nextafter(iou, 0.0f)));
    }
  }
}

TEST(OverlapKernels, AnEmptyListOverlapsNothing) {
  const AvailableKernels available = FindAvailableKernels();
  for (size_t k = 0; k < available.count; ++k) {
    const kernels::OverlapKernels& kernel = *available.best_first[k]->overlap;
    float overlaps[kBlockBoxes];
    uint32_t greater = 0;
    EXPECT_FALSE(kernel.overlaps_any(nullptr, kNoBlock, {0, 0, 1, 1}, 1.0f, 0.0f));
    EXPECT_EQ(kernel.find_overlaps(nullptr, kNoBlock, {0, 0, 1, 1}, 1.0f, 0.0f, overlaps, &greater),
              kNoBlock);
  }
}

}  // namespace
}  // namespace edgedet
