#include "soft_decay.h"

#include <cmath>

namespace edgedet {

float SoftDecay::Rescore(const KeptBoxes& kept, const Box& box, uint32_t class_index, float score,
                         KeptBoxes::Place* compared) const {
  const bool gaussian = method == SoftNmsMethod::kGaussian;
  // An IoU of 0 leaves the score as it is.
  const float least = gaussian ? 0.0f : iou_threshold;
  float overlaps[kernels::kBlockBoxes];
  while (const int count = kept.NextOverlaps(box, class_index, least, compared, overlaps)) {
    for (int i = 0; i < count; ++i) {
      const double overlap = overlaps[i];
      const float factor = gaussian ? static_cast<float>(std::exp(-(overlap * overlap) / sigma))
                                    : 1.0f - overlaps[i];
      score *= factor;
    }
    if (score < score_threshold) break;
  }
  return score;
}

}  // namespace edgedet
