// One row of logits at a time: what the cross-entropy needs of a softmax. Dispatched at run time.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace bessemer::kernels::cpu {

/// log of the sum of exp(logits[i]): exponentials in fp32, blocks of them summed in fp64. NaN where
/// a logit is NaN.
float log_sum_exp(const float* logits, std::int64_t count);

/// gradient = scale * (exp(logits - lse) - one-hot of target). May be in place.
void softmax_gradient(const float* logits, std::int64_t count, float lse, float scale,
                      std::int64_t target, float* gradient);
void softmax_gradient(const float* logits, std::int64_t count, float lse, float scale,
                      std::int64_t target, BFloat16* gradient);

}  // namespace bessemer::kernels::cpu
