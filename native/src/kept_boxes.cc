#include "kept_boxes.h"

namespace edgedet {

using kernels::BoxBlock;
using kernels::kNoBlock;

KeptBoxes::Verdict KeptBoxes::Offer(const Box& box, uint32_t class_index) {
  while (lists_.size() <= class_index) {
    if (!lists_.push_back(List())) return Verdict::kOutOfMemory;
  }
  List& list = lists_[class_index];
  const float area = Area(box);
  if (kernel_.overlaps_any(blocks_.data(), list.first, box, area, iou_threshold_)) {
    return Verdict::kSuppressed;
  }
  if (list.in_last == kernels::kBlockBoxes) {
    const auto added = static_cast<uint32_t>(blocks_.size());
    BoxBlock empty = {};
    empty.next = kNoBlock;
    if (!blocks_.push_back(empty)) return Verdict::kOutOfMemory;
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
  block.area[at] = area;
  return Verdict::kKept;
}

}  // namespace edgedet
