#include "edgedet/postprocess.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "edgedet/nms.h"
#include "kept_boxes.h"
#include "scan.h"
#include "score_order.h"
#include "sigmoid.h"

namespace edgedet {
namespace {

constexpr int32_t kMaxLevels = 32;

// Candidates are numbered over all levels; level l begins at starts[l].
struct Numbering {
  int64_t starts[kMaxLevels + 1];
};

float Dequantize(int32_t value, const HeadMap& map) {
  return map.scale * static_cast<float>(value - map.zero_point);
}

// Smallest value of [low, high] with passes(value), or high + 1; passes must be monotonic.
template <typename Predicate>
int64_t FirstPassing(int64_t low, int64_t high, Predicate passes) {
  while (low <= high) {
    const int64_t middle = low + (high - low) / 2;
    if (passes(middle)) {
      high = middle - 1;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// Floats in their order, numbered: the bits of positive ones, minus the bits of negative ones.
float FloatAt(int64_t position) {
  const uint32_t magnitude = static_cast<uint32_t>(position < 0 ? -position : position);
  return __builtin_bit_cast(float, position < 0 ? magnitude | 0x80000000u : magnitude);
}

// A level's threshold as a logit, or none when no logit reaches it.
template <typename T>
struct Threshold {
  bool reachable;
  T value;
};

Threshold<float> ThresholdOf(const HeadMap&, float score, float) {
  constexpr int64_t kInfinity = 0x7F800000;
  const int64_t position = FirstPassing(-kInfinity, kInfinity,
                                        [&](int64_t at) { return Sigmoid(FloatAt(at)) >= score; });
  return {position <= kInfinity, position <= kInfinity ? FloatAt(position) : 0.0f};
}

template <typename T>
Threshold<T> ThresholdOf(const HeadMap& map, float score, T) {
  constexpr int64_t kLow = std::numeric_limits<T>::min();
  constexpr int64_t kHigh = std::numeric_limits<T>::max();
  const int64_t first = FirstPassing(kLow, kHigh, [&](int64_t value) {
    return Sigmoid(Dequantize(static_cast<int32_t>(value), map)) >= score;
  });
  return {first <= kHigh, static_cast<T>(first <= kHigh ? first : 0)};
}

// Scores of a map's elements: 8-bit elements have 256 of them, computed when first needed.
template <typename T>
class Scores {
 public:
  explicit Scores(const HeadMap& map) : map_(map) {
    if constexpr (kTabled) {
      for (float& score : table_) score = -1.0f;
    }
  }

  float operator()(T value) {
    if constexpr (kTabled) {
      float& score = table_[static_cast<uint8_t>(value)];
      if (score < 0.0f) score = Sigmoid(Dequantize(value, map_));
      return score;
    } else if constexpr (std::is_same_v<T, float>) {
      return Sigmoid(value);
    } else {
      return Sigmoid(Dequantize(value, map_));
    }
  }

 private:
  static constexpr bool kTabled = sizeof(T) == 1;
  const HeadMap& map_;
  float table_[kTabled ? 256 : 1];
};

template <typename T>
bool Collect(const HeadMap& map, size_t count, uint32_t start, float score_threshold,
             Buffer<uint64_t>* keys) {
  const auto* values = static_cast<const T*>(map.data);
  const Threshold<T> threshold = ThresholdOf(map, score_threshold, T());
  if (!threshold.reachable) return true;
  Scores<T> scores(map);
  uint64_t passing = 0;
  for (size_t block = 0; block < count; block += kernels::kScanBlock) {
    block = FindBlock(values, block, count, threshold.value, &passing);
    if (block >= count) break;
    uint64_t* added = keys->extend(static_cast<size_t>(__builtin_popcountll(passing)));
    if (added == nullptr) return false;
    for (; passing != 0; passing &= passing - 1) {
      const size_t at = block + static_cast<size_t>(__builtin_ctzll(passing));
      *added++ = ScoreKey(scores(values[at]), start + static_cast<uint32_t>(at));
    }
  }
  return true;
}

bool Collect(const Level& level, size_t count, uint32_t start, float score_threshold,
             Buffer<uint64_t>* keys) {
  switch (level.classes.type) {
    case ElementType::kFloat32:
      return Collect<float>(level.classes, count, start, score_threshold, keys);
    case ElementType::kInt8:
      return Collect<int8_t>(level.classes, count, start, score_threshold, keys);
    case ElementType::kUint8:
      return Collect<uint8_t>(level.classes, count, start, score_threshold, keys);
    case ElementType::kInt16:
      return Collect<int16_t>(level.classes, count, start, score_threshold, keys);
  }
  return true;
}

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

Box BoxAt(const Level& level, const PostprocessOptions& options, size_t anchor) {
  const auto per_location = static_cast<size_t>(options.anchors_per_location);
  const size_t location = anchor / per_location;
  const AnchorSize& size = level.anchors[anchor % per_location];
  const auto columns = static_cast<size_t>(level.columns);
  const float centre_x = (static_cast<float>(location % columns) + 0.5f) * level.stride_x;
  const float centre_y = (static_cast<float>(location / columns) + 0.5f) * level.stride_y;
  return Decode(CodeAt(level.boxes, anchor), {centre_x, centre_y, size.width, size.height});
}

float Clip(float value, float limit) {
  const float positive = value < 0.0f ? 0.0f : value;
  return positive > limit ? limit : positive;
}

Box InImage(const Box& box, const PostprocessOptions& options) {
  const Box scaled = {box.x0 / options.ratio, box.y0 / options.ratio, box.x1 / options.ratio,
                      box.y1 / options.ratio};
  if (std::isinf(options.image_width)) return scaled;
  return {Clip(scaled.x0, options.image_width), Clip(scaled.y0, options.image_height),
          Clip(scaled.x1, options.image_width), Clip(scaled.y1, options.image_height)};
}

bool Valid(const HeadMap& map) {
  return map.data != nullptr && (map.type == ElementType::kFloat32 ||
                                 (map.scale > 0.0f && std::isfinite(map.scale) &&
                                  map.zero_point >= -32768 && map.zero_point <= 32767));
}

bool Valid(const PostprocessOptions& options) {
  const auto share = [](float value) { return value >= 0.0f && value <= 1.0f; };
  return options.num_classes >= 1 && options.anchors_per_location >= 1 &&
         share(options.score_threshold) && share(options.iou_threshold) &&
         options.max_detections >= 0 && options.ratio > 0.0f && std::isfinite(options.ratio) &&
         options.image_height > 0.0f && options.image_width > 0.0f &&
         std::isinf(options.image_height) == std::isinf(options.image_width);
}

// False when a level can't be, or when the candidates are more than keys can number.
bool Number(const Level* levels, int32_t level_count, const PostprocessOptions& options,
            Numbering* numbering) {
  int64_t total = 0;
  for (int32_t l = 0; l < level_count; ++l) {
    numbering->starts[l] = total;
    const Level& level = levels[l];
    if (!Valid(level.classes) || !Valid(level.boxes) || level.anchors == nullptr ||
        level.rows < 1 || level.columns < 1 || !(level.stride_y > 0.0f) ||
        !(level.stride_x > 0.0f)) {
      return false;
    }
    const int64_t factors[] = {level.rows, level.columns, options.anchors_per_location,
                               options.num_classes};
    int64_t count = 1;
    for (const int64_t factor : factors) {
      if (count > kMaxCandidates / factor) return false;
      count *= factor;
    }
    total += count;
    if (total > kMaxCandidates) return false;
  }
  numbering->starts[level_count] = total;
  return true;
}

}  // namespace

Status Postprocess(const Level* levels, int32_t level_count, const PostprocessOptions& options,
                   Buffer<Detection>* detections) {
  Numbering numbering;
  if (detections == nullptr || levels == nullptr || level_count < 1 || level_count > kMaxLevels ||
      !Valid(options) || !Number(levels, level_count, options, &numbering)) {
    return Status::kInvalidArgument;
  }
  detections->clear();
  Buffer<uint64_t> keys;
  for (int32_t l = 0; l < level_count; ++l) {
    const auto count = static_cast<size_t>(numbering.starts[l + 1] - numbering.starts[l]);
    if (!Collect(levels[l], count, static_cast<uint32_t>(numbering.starts[l]),
                 options.score_threshold, &keys)) {
      return Status::kOutOfMemory;
    }
  }
  if (!SortByScore(&keys)) return Status::kOutOfMemory;

  // Boxes are decoded as their turn comes: most never do once max_detections are found.
  KeptBoxes kept(options.iou_threshold);
  const auto num_classes = static_cast<size_t>(options.num_classes);
  for (const uint64_t key : keys) {
    if (static_cast<int64_t>(detections->size()) >= options.max_detections) break;
    const int64_t candidate = KeyIndex(key);
    int32_t l = 0;
    while (candidate >= numbering.starts[l + 1]) ++l;
    const auto element = static_cast<size_t>(candidate - numbering.starts[l]);
    const Box box = BoxAt(levels[l], options, element / num_classes);
    if (!IsFinite(box)) continue;
    const auto class_id = static_cast<uint32_t>(element % num_classes);
    const KeptBoxes::Verdict verdict = kept.Offer(box, class_id);
    if (verdict == KeptBoxes::Verdict::kOutOfMemory) return Status::kOutOfMemory;
    if (verdict == KeptBoxes::Verdict::kSuppressed) continue;
    const Box shown = InImage(box, options);
    if (!(shown.x1 > shown.x0 && shown.y1 > shown.y0)) continue;
    if (!detections->push_back({shown, KeyScore(key), static_cast<int32_t>(class_id)})) {
      return Status::kOutOfMemory;
    }
  }
  return Status::kOk;
}

}  // namespace edgedet
