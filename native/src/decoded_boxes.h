#ifndef EDGEDET_SRC_DECODED_BOXES_H_
#define EDGEDET_SRC_DECODED_BOXES_H_

#include <cstddef>
#include <cstdint>

#include "edgedet/boxes.h"
#include "edgedet/postprocess.h"

namespace edgedet {

// Boxes of the head tensors' anchors, decoded when asked for. Those asked for lately are at hand:
// often several classes of an anchor are candidates, and soft-NMS comes back to a box.
class DecodedBoxes {
 public:
  DecodedBoxes(const Level* levels, int32_t anchors_per_location);

  // Anchor `anchor` of a level; `number` counts anchors over all levels.
  const Box& BoxAt(int32_t level, size_t anchor, uint32_t number);

 private:
  static constexpr size_t kRecent = 512;
  static constexpr uint32_t kNone = UINT32_MAX;

  const Level* levels_;
  size_t per_location_;
  uint32_t numbers_[kRecent];
  Box boxes_[kRecent];
};

}  // namespace edgedet

#endif  // EDGEDET_SRC_DECODED_BOXES_H_
