// What a step of AdamW (Loshchilov and Hutter, 2019) needs once a tensor: computed in fp64, the
// same for all its elements.
#pragma once

#include <cmath>

namespace bessemer::kernels {

struct AdamW {
  double beta1, beta2, epsilon;
};

struct AdamWScalars {
  float gradient_scale;  // the clip coefficient
  float decay;           // 1 - learning rate * weight decay
  float mean_weight;     // 1 - beta1
  float beta2;
  float square_weight;            // 1 - beta2
  float inverse_root_correction;  // 1 / sqrt(1 - beta2^step)
  float epsilon;
  float step_size;  // learning rate / (1 - beta1^step)
};

/// `power(base)`: to the number of the step.
template <typename Power>
constexpr AdamWScalars adamw_scalars(const AdamW& adamw, double weight_decay, double learning_rate,
                                     float coefficient, const Power& power) {
  return {coefficient,
          static_cast<float>(1 - learning_rate * weight_decay),
          static_cast<float>(1 - adamw.beta1),
          static_cast<float>(adamw.beta2),
          static_cast<float>(1 - adamw.beta2),
          static_cast<float>(1 / std::sqrt(1 - power(adamw.beta2))),
          static_cast<float>(adamw.epsilon),
          static_cast<float>(learning_rate / (1 - power(adamw.beta1)))};
}

}  // namespace bessemer::kernels
