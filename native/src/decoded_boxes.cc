#include "decoded_boxes.h"

#include <type_traits>

#include "head_scores.h"

namespace edgedet {
namespace {

template <typename T>
BoxCode CodeAt(const HeadMap& map, size_t anchor) {
  const T* code = static_cast<const T*>(map.data) + 4 * anchor;
  if constexpr (std::is_same_v<T, float>) {
    return {code[0], code[1], code[2], code[3]};
  } else {
    return {Dequantize(code[0], map), Dequantize(code[1], map), Dequantize(code[2], map),
            Dequantize(code[3], map)};
  }
}

BoxCode CodeAt(const HeadMap& map, size_t anchor) {
  switch (map.type) {
    case ElementType::kFloat32:
      return CodeAt<float>(map, anchor);
    case ElementType::kInt8:
      return CodeAt<int8_t>(map, anchor);
    case ElementType::kUint8:
      return CodeAt<uint8_t>(map, anchor);
    case ElementType::kInt16:
      break;
  }
  return CodeAt<int16_t>(map, anchor);
}

}  // namespace

DecodedBoxes::DecodedBoxes(const Level* levels, int32_t anchors_per_location)
    : levels_(levels), per_location_(static_cast<size_t>(anchors_per_location)) {
  for (uint32_t& number : numbers_) number = kNone;
}

const Box& DecodedBoxes::BoxAt(int32_t level, size_t anchor, uint32_t number) {
  Box& box = boxes_[number % kRecent];
  if (numbers_[number % kRecent] == number) return box;
  const Level& from = levels_[level];
  const size_t location = anchor / per_location_;
  const AnchorSize& size = from.anchors[anchor % per_location_];
  const auto columns = static_cast<size_t>(from.columns);
  const float centre_x = (static_cast<float>(location % columns) + 0.5f) * from.stride_x;
  const float centre_y = (static_cast<float>(location / columns) + 0.5f) * from.stride_y;
  box = Decode(CodeAt(from.boxes, anchor), {centre_x, centre_y, size.width, size.height});
  numbers_[number % kRecent] = number;
  return box;
}

}  // namespace edgedet
