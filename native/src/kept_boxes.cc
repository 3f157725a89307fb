#include "kept_boxes.h"

namespace edgedet {

using kernels::BoxBlock;
using kernels::kBlockBoxes;
using kernels::kNoBlock;

bool KeptBoxes::OverlapsAny(const Box& box, uint32_t class_index, float threshold) const {
  return class_index < lists_.size() &&
         kernels_.overlaps_any(blocks_.data(), lists_[class_index].first, box, Area(box),
                               threshold);
}

int KeptBoxes::NextOverlaps(const Box& box, uint32_t class_index, float threshold, Place* place,
                            float overlaps[kBlockBoxes]) const {
  if (class_index >= lists_.size()) return 0;
  const List& list = lists_[class_index];
  if (place->block == list.last && (list.last == kNoBlock || place->in_block == list.in_last)) {
    return 0;
  }
  uint32_t at = place->block == kNoBlock ? list.first : place->block;
  uint32_t compared = place->in_block;
  const float area = Area(box);
  while (at != kNoBlock) {
    float all[kBlockBoxes];
    uint32_t greater = 0;
    const uint32_t found =
        kernels_.find_overlaps(blocks_.data(), at, box, area, threshold, all, &greater);
    if (found == kNoBlock) break;
    if (found == at) greater &= ~((1u << compared) - 1);
    if (greater != 0) {
      *place = {found, found == list.last ? list.in_last : kBlockBoxes};
      int count = 0;
      for (; greater != 0; greater &= greater - 1) overlaps[count++] = all[__builtin_ctz(greater)];
      return count;
    }
    at = blocks_[found].next;
    compared = 0;
  }
  *place = {list.last, list.in_last};
  return 0;
}

bool KeptBoxes::Keep(const Box& box, uint32_t class_index) {
  while (lists_.size() <= class_index) {
    if (!lists_.push_back(List())) return false;
  }
  List& list = lists_[class_index];
  if (list.in_last == kBlockBoxes) {
    const auto added = static_cast<uint32_t>(blocks_.size());
    BoxBlock empty = {};
    empty.next = kNoBlock;
    if (!blocks_.push_back(empty)) return false;
    if (list.last == kNoBlock) {
      list.first = added;
    } else {
      blocks_[list.last].next = added;
    }
    list.last = added;
    list.in_last = 0;
  }
  BoxBlock& block = blocks_[list.last];
  const uint32_t at = list.in_last++;
  block.x0[at] = box.x0;
  block.y0[at] = box.y0;
  block.x1[at] = box.x1;
  block.y1[at] = box.y1;
  block.area[at] = Area(box);
  return true;
}

}  // namespace edgedet
