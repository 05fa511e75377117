#include "kernels/cpu/softmax_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

// Sets that have nothing for these loops over the next smaller one.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/softmax_rows.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "hwy/contrib/math/math-inl.h"
#include "kernels/cpu/convert-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using FloatTag = hn::ScalableTag<float>;
using V = hn::Vec<FloatTag>;

/// Highway's exp gives zero for NaN; a broken logit must not pass unseen.
HWY_INLINE V exp_keeping_nan(V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(FloatTag(), x));
}

/// `count` lanes of p, the rest -infinity: neutral for max and for sums of exponentials.
HWY_INLINE V load_logits(const float* p, std::int64_t count) {
  const FloatTag d;
  if (count >= static_cast<std::int64_t>(hn::Lanes(d))) return hn::LoadU(d, p);
  return hn::IfThenElse(hn::FirstN(d, static_cast<std::size_t>(count)), load_some(d, p, count),
                        hn::Set(d, -std::numeric_limits<float>::infinity()));
}

float log_sum_exp_row(const float* logits, std::int64_t count) {
  constexpr std::int64_t kBlock = 1024;
  const FloatTag d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  V largest = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (std::int64_t i = 0; i < count; i += lanes) {
    largest = hn::Max(largest, load_logits(logits + i, count - i));
  }
  largest = hn::MaxOfLanes(d, largest);
  double total = 0;
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t end = std::min(count, begin + kBlock);
    V sum = hn::Zero(d);
    for (std::int64_t i = begin; i < end; i += lanes) {
      sum = hn::Add(sum, exp_keeping_nan(hn::Sub(load_logits(logits + i, end - i), largest)));
    }
    total += hn::GetLane(hn::SumOfLanes(d, sum));
  }
  return static_cast<float>(hn::GetLane(largest) + std::log(total));
}

template <typename T>
HWY_INLINE void gradient_row(const float* logits, std::int64_t count, float lse, float scale,
                             std::int64_t target, T* gradient) {
  const FloatTag d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const float at_target = scale * (std::exp(logits[target] - lse) - 1.0f);  // before it is replaced
  const V shift = hn::Set(d, lse), factor = hn::Set(d, scale);
  for (std::int64_t i = 0; i < count; i += lanes) {
    const V p = exp_keeping_nan(hn::Sub(load_logits(logits + i, count - i), shift));
    store_some(d, hn::Mul(p, factor), gradient + i, count - i);
  }
  gradient[target] = T(at_target);
}

void gradient_row_fp32(const float* logits, std::int64_t count, float lse, float scale,
                       std::int64_t target, float* gradient) {
  gradient_row(logits, count, lse, scale, target, gradient);
}

void gradient_row_bf16(const float* logits, std::int64_t count, float lse, float scale,
                       std::int64_t target, BFloat16* gradient) {
  gradient_row(logits, count, lse, scale, target, gradient);
}

}  // namespace HWY_NAMESPACE
}  // namespace bessemer::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
HWY_EXPORT(log_sum_exp_row);
HWY_EXPORT(gradient_row_fp32);
HWY_EXPORT(gradient_row_bf16);

float log_sum_exp(const float* logits, std::int64_t count) {
  return HWY_DYNAMIC_DISPATCH(log_sum_exp_row)(logits, count);
}

void softmax_gradient(const float* logits, std::int64_t count, float lse, float scale,
                      std::int64_t target, float* gradient) {
  HWY_DYNAMIC_DISPATCH(gradient_row_fp32)(logits, count, lse, scale, target, gradient);
}

void softmax_gradient(const float* logits, std::int64_t count, float lse, float scale,
                      std::int64_t target, BFloat16* gradient) {
  HWY_DYNAMIC_DISPATCH(gradient_row_bf16)(logits, count, lse, scale, target, gradient);
}

}  // namespace bessemer::kernels::cpu
#endif
