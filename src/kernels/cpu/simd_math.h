// Vector approximations of the functions that activations need, in fp32. Stated bounds are held by
// tests/kernels/elementwise_test.cpp against fp64.

#include "kernels/cpu/simd.h"

#if defined(BESSEMER_KERNELS_CPU_SIMD_MATH_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BESSEMER_KERNELS_CPU_SIMD_MATH_H_
#undef BESSEMER_KERNELS_CPU_SIMD_MATH_H_
#else
#define BESSEMER_KERNELS_CPU_SIMD_MATH_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {

// exp, sigmoid and normal_distribution give no particular number for NaN: the activations below
// come to NaN because they multiply by x.

HWY_INLINE FloatVec splat(float value) { return hn::Set(FloatTag(), value); }

/// x limited to [low, high]; NaN stays NaN.
HWY_INLINE FloatVec limit(FloatVec x, float low, float high) {
  const FloatVec inside = hn::Min(hn::Max(x, splat(low)), splat(high));
  return hn::IfThenElse(hn::IsNaN(x), x, inside);
}

/// e^x for x limited to [-87.3, 88.3], so that the result is a normal number: relative error below
/// 1.5e-7. x = n ln 2 + r with |r| <= ln(2)/2, e^r by a polynomial of degree 6 (interpolated at
/// Chebyshev points, error 1.1e-8).
HWY_INLINE FloatVec exp_limited(FloatVec x) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  x = hn::Min(hn::Max(x, splat(-87.3f)), splat(88.3f));
  const FloatVec n = hn::Round(hn::Mul(x, splat(1.44269504f)));
  // ln 2 in two parts; the first has few enough bits that n times it is exact.
  FloatVec r = hn::NegMulAdd(n, splat(0.693359375f), x);
  r = hn::NegMulAdd(n, splat(-2.12194440e-4f), r);
  FloatVec p = hn::MulAdd(r, splat(0.001392692661f), splat(0.008363773874f));
  p = hn::MulAdd(r, p, splat(0.04166655011f));
  p = hn::MulAdd(r, p, splat(0.1666657338f));
  p = hn::MulAdd(r, p, splat(0.5f));
  p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), splat(1.0f));
  const auto exponent = hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127));
  return hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<23>(exponent)));
}

/// e^x: as exp_limited, but 0 below -87.3. Above 88.3 it stays at e^88.3.
HWY_INLINE FloatVec exp(FloatVec x) {
  return hn::IfThenZeroElse(hn::Lt(x, splat(-87.3f)), exp_limited(x));
}

/// 1 / x for x >= 1, relative error below 2e-7: the machine's estimate and one step of Newton's
/// method, about a third of the time of a division.
HWY_INLINE FloatVec reciprocal(FloatVec x) {
  const FloatVec estimate = hn::ApproximateReciprocal(x);
  return hn::Mul(estimate, hn::NegMulAdd(x, estimate, splat(2.0f)));
}

/// 1 / (1 + e^-x), relative error below 5e-7 for x > -87.
HWY_INLINE FloatVec sigmoid(FloatVec x) {
  return reciprocal(hn::Add(splat(1.0f), exp_limited(hn::Neg(x))));
}

/// The normal distribution: its density at x, and the probability beyond |x|,
/// tail = (1 - erf(|x| / sqrt(2))) / 2.
struct Normal {
  FloatVec density;
  FloatVec tail;
};

/// Absolute error below 1e-7. The tail is e^(-x^2/2) t h(t) with t = 1 / (1 + 0.35 |x|), the form
/// of Hastings (1955), and h of degree 8 interpolated at Chebyshev points of |x| <= 14 (error
/// 4e-8).
HWY_INLINE Normal normal_distribution(FloatVec x) {
  const FloatVec one = splat(1.0f);
  const FloatVec a = hn::Min(hn::Abs(x), splat(14.0f));
  const FloatVec e = exp(hn::Mul(hn::Mul(a, a), splat(-0.5f)));
  const FloatVec t = reciprocal(hn::MulAdd(a, splat(0.35f), one));
  FloatVec h = hn::MulAdd(t, splat(-0.029679522f), splat(0.1465458303f));
  h = hn::MulAdd(t, h, splat(-0.2609612283f));
  h = hn::MulAdd(t, h, splat(0.1650509959f));
  h = hn::MulAdd(t, h, splat(-0.02704660827f));
  h = hn::MulAdd(t, h, splat(0.1071145876f));
  h = hn::MulAdd(t, h, splat(0.1194449168f));
  h = hn::MulAdd(t, h, splat(0.1399122981f));
  h = hn::MulAdd(t, h, splat(0.1396187126f));
  return {hn::Mul(e, splat(0.398942280f)), hn::Mul(e, hn::Mul(t, h))};
}

// Activations: absolute error below 1e-6 max(1, |result|).

HWY_INLINE FloatVec silu(FloatVec x) { return hn::Mul(x, sigmoid(x)); }

/// s = sigmoid(u) and s (1 - s), both from sigmoid(-|u|): 1 - s by subtraction has no digits left
/// where s is near 1.
struct SigmoidSlope {
  FloatVec value;
  FloatVec slope;
};

HWY_INLINE SigmoidSlope sigmoid_slope(FloatVec u) {
  const FloatVec tail = sigmoid(hn::Neg(hn::Abs(u)));
  const FloatVec rest = hn::Sub(splat(1.0f), tail);
  return {hn::IfThenElse(hn::Lt(u, hn::Zero(FloatTag())), tail, rest), hn::Mul(tail, rest)};
}

HWY_INLINE FloatVec silu_slope(FloatVec x) {
  const SigmoidSlope s = sigmoid_slope(x);
  return hn::MulAdd(limit(x, -87.0f, 87.0f), s.slope, s.value);
}

/// 2 sqrt(2/pi) (x + 0.044715 x^3): then (1 + tanh(..)) / 2 is the sigmoid of it.
HWY_INLINE FloatVec gelu_tanh_inner(FloatVec x) {
  const FloatVec cubic = hn::MulAdd(hn::Mul(x, x), splat(0.0713548163f), splat(1.59576912f));
  return hn::Mul(x, cubic);
}

HWY_INLINE FloatVec gelu_tanh(FloatVec x) { return hn::Mul(x, sigmoid(gelu_tanh_inner(x))); }

HWY_INLINE FloatVec gelu_tanh_slope(FloatVec x) {
  x = limit(x, -16.0f, 16.0f);  // the slope is 0 or 1 from there on
  const SigmoidSlope s = sigmoid_slope(gelu_tanh_inner(x));
  const FloatVec inner_slope =
      hn::MulAdd(hn::Mul(x, x), splat(3 * 0.0713548163f), splat(1.59576912f));
  return hn::MulAdd(hn::Mul(x, inner_slope), s.slope, s.value);
}

HWY_INLINE FloatVec gelu(FloatVec x) {
  const FloatVec outside = hn::Mul(limit(x, -14.0f, 14.0f), normal_distribution(x).tail);
  return hn::IfThenElse(hn::Lt(x, hn::Zero(FloatTag())), outside, hn::Sub(x, outside));
}

HWY_INLINE FloatVec gelu_slope(FloatVec x) {
  const Normal normal = normal_distribution(x);
  const FloatVec below = hn::IfThenElse(hn::Lt(x, hn::Zero(FloatTag())), normal.tail,
                                        hn::Sub(splat(1.0f), normal.tail));
  return hn::MulAdd(limit(x, -14.0f, 14.0f), normal.density, below);
}

}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
