#ifndef EDGEDET_SRC_CLASS_INDEX_H_
#define EDGEDET_SRC_CLASS_INDEX_H_

#include <cstdint>

#include "edgedet/buffer.h"

namespace edgedet {

// Numbers class ids of any value 0, 1, 2 ... in the order they turn up: an open-addressing table.
class ClassIndex {
 public:
  // For at most `ids` distinct ids. False when out of memory.
  [[nodiscard]] bool Init(size_t ids);

  uint32_t IndexOf(int64_t id);

 private:
  struct Slot {
    int64_t id;
    uint32_t index;
  };
  Buffer<Slot> slots_;
  int shift_ = 0;
  uint32_t count_ = 0;
};

}  // namespace edgedet

#endif  // EDGEDET_SRC_CLASS_INDEX_H_
