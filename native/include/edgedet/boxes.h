#ifndef EDGEDET_BOXES_H_
#define EDGEDET_BOXES_H_

#include <cstddef>

namespace edgedet {

// log(1000 / 16): bounds how far a code can stretch its anchor, as in edgedet.boxes.
constexpr float kLogSizeLimit = 4.135166556742356f;

struct Box {
  float x0;
  float y0;
  float x1;
  float y1;
};

struct Anchor {
  float cx;
  float cy;
  float width;
  float height;
};

// A box relative to its anchor (Faster R-CNN, Ren et al. 2015, Eq. 2), in EfficientDet's order.
struct BoxCode {
  float ty;
  float tx;
  float th;
  float tw;
};

// Exponentials are rounded from double, so that every machine gets the same float32.
Box Decode(const BoxCode& code, const Anchor& anchor);

bool IsFinite(const Box& box);

// Area of a finite box; an inverted one has none.
float Area(const Box& box);

}  // namespace edgedet

#endif  // EDGEDET_BOXES_H_
