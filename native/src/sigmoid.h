#ifndef EDGEDET_SRC_SIGMOID_H_
#define EDGEDET_SRC_SIGMOID_H_

#include <cmath>

namespace edgedet {

// Rounded from double, so that every machine gets the same float32; monotonic.
inline float Sigmoid(float logit) {
  return static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(logit))));
}

}  // namespace edgedet

#endif  // EDGEDET_SRC_SIGMOID_H_
