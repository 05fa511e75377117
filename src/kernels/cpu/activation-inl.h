// Activations of a vector of fp32. Included once for each instruction set.
#if defined(BESSEMER_KERNELS_CPU_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BESSEMER_KERNELS_CPU_ACTIVATION_INL_H_
#undef BESSEMER_KERNELS_CPU_ACTIVATION_INL_H_
#else
#define BESSEMER_KERNELS_CPU_ACTIVATION_INL_H_
#endif

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// x / (1 + exp(-z)). The exponent is held where exp neither overflows nor loses its sign's limit.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V times_sigmoid(D d, V x, V z) {
  const V bounded = hn::Min(hn::Max(hn::Neg(z), hn::Set(d, -87.0f)), hn::Set(d, 87.0f));
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), hn::Exp(d, bounded)));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V silu(D d, V x) {
  return times_sigmoid(d, x, x);
}

/// x/2 (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V gelu_tanh(D d, V x) {
  const V cubic = hn::MulAdd(hn::Mul(x, x), hn::Set(d, 0.044715f), hn::Set(d, 1.0f));
  return times_sigmoid(d, x, hn::Mul(hn::Mul(x, cubic), hn::Set(d, 1.5957691216057308f)));
}

/// x Phi(x), by erfc(z) = t P(t) exp(-z^2) for z >= 0: Abramowitz and Stegun, "Handbook of
/// Mathematical Functions", 7.1.26; absolute error of erfc below 1.5e-7.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V gelu_erf(D d, V x) {
  const V z = hn::Min(hn::Mul(hn::Abs(x), hn::Set(d, 0.7071067811865476f)), hn::Set(d, 9.3f));
  const V one = hn::Set(d, 1.0f);
  const V t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.3275911f), one));
  V p = hn::MulAdd(t, hn::Set(d, 1.061405429f), hn::Set(d, -1.453152027f));
  p = hn::MulAdd(p, t, hn::Set(d, 1.421413741f));
  p = hn::MulAdd(p, t, hn::Set(d, -0.284496736f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.254829592f));
  const V erfc = hn::Mul(hn::Mul(p, t), hn::Exp(d, hn::Neg(hn::Mul(z, z))));
  const V tail = hn::Mul(hn::Set(d, 0.5f), erfc);
  const V cdf = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(one, tail));
  return hn::Mul(x, cdf);
}

}  // namespace HWY_NAMESPACE
}  // namespace bessemer::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif
