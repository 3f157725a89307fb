// A peer for the benchmarks: the algorithm of torchvision's CPU nms, which compares each surviving
// box with every later one. Written anew from its description and compiled plainly.

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

// Writes the kept indices by descending score, ties by lower index, and returns how many they are.
// `boxes` holds count * 4 floats x0, y0, x1, y1; `kept` has room for `count` indices.
extern "C" int64_t edgedet_peer_torchvision_nms(const float* boxes, const float* scores,
                                                int64_t count, float iou_threshold, int64_t* kept) {
  const auto size = static_cast<size_t>(count);
  std::vector<float> x0(size);
  std::vector<float> y0(size);
  std::vector<float> x1(size);
  std::vector<float> y1(size);
  std::vector<float> areas(size);
  for (size_t i = 0; i < size; ++i) {
    x0[i] = boxes[4 * i];
    y0[i] = boxes[4 * i + 1];
    x1[i] = boxes[4 * i + 2];
    y1[i] = boxes[4 * i + 3];
    areas[i] = (x1[i] - x0[i]) * (y1[i] - y0[i]);
  }
  std::vector<int64_t> order(size);
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [scores](int64_t left, int64_t right) { return scores[left] > scores[right]; });

  std::vector<uint8_t> suppressed(size, 0);
  int64_t kept_count = 0;
  for (size_t rank = 0; rank < size; ++rank) {
    const auto i = static_cast<size_t>(order[rank]);
    if (suppressed[i] != 0) continue;
    kept[kept_count++] = order[rank];
    for (size_t later = rank + 1; later < size; ++later) {
      const auto j = static_cast<size_t>(order[later]);
      if (suppressed[j] != 0) continue;
      const float width = std::max(0.0f, std::min(x1[i], x1[j]) - std::max(x0[i], x0[j]));
      const float height = std::max(0.0f, std::min(y1[i], y1[j]) - std::max(y0[i], y0[j]));
      const float intersection = width * height;
      if (intersection / (areas[i] + areas[j] - intersection) > iou_threshold) suppressed[j] = 1;
    }
  }
  return kept_count;
}
