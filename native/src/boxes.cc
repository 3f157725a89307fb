#include "edgedet/boxes.h"

#include <cmath>

namespace edgedet {
namespace {

// NaN stays NaN: the comparison is false for it.
float SizeFactor(float log_size) {
  const float bounded = log_size > kLogSizeLimit ? kLogSizeLimit : log_size;
  return static_cast<float>(std::exp(static_cast<double>(bounded)));
}

}  // namespace

Box Decode(const BoxCode& code, const Anchor& anchor) {
  const float centre_y = code.ty * anchor.height + anchor.cy;
  const float centre_x = code.tx * anchor.width + anchor.cx;
  const float half_height = SizeFactor(code.th) * anchor.height * 0.5f;
  const float half_width = SizeFactor(code.tw) * anchor.width * 0.5f;
  return {centre_x - half_width, centre_y - half_height, centre_x + half_width,
          centre_y + half_height};
}

bool IsFinite(const Box& box) {
  return std::isfinite(box.x0) && std::isfinite(box.y0) && std::isfinite(box.x1) &&
         std::isfinite(box.y1);
}

float Area(const Box& box) {
  const float width = box.x1 - box.x0;
  const float height = box.y1 - box.y0;
  return (width > 0.0f ? width : 0.0f) * (height > 0.0f ? height : 0.0f);
}

}  // namespace edgedet
