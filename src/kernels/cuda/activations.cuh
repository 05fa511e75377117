// Activation functions and their gradients on a device. The approximations are a few units in the
// last place off, and only make sigmoids and densities, so next to max(1, |x|) the results are as
// near. Slopes multiply by x what has vanished where |x| is large: there x is cut, lest infinity
// meets zero.
//
// Kernels include this, and those written at planning (elementwise_source.h) get its text, without
// the lines that begin with #, so that an activation has the same bits in both. It may use what
// simt.cuh and jit.h both offer, and leaves no sum to be contracted with a product.
#pragma once

#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda::activation {

// s = 1 / (1 + exp(-u)) and s (1 - s), of which rounding 1 - s would leave little.
struct Sigmoid {
  float value, slope;
};
__device__ inline Sigmoid sigmoid(float u) {
  const float e = exp2_approx(-1.4426950408890f * fabsf(u));
  const float r = reciprocal_approx(1.0f + e);
  return {u < 0.0f ? e * r : r, e * r * r};
}
__device__ inline float cut(float x, float limit) { return fminf(fmaxf(x, -limit), limit); }

__device__ inline float silu(float x) { return x * sigmoid(x).value; }
__device__ inline float silu_grad(float dy, float x) {
  const Sigmoid s = sigmoid(x);
  return dy * fmaf(cut(x, 88.0f), s.slope, s.value);
}

// 0.5 (1 + tanh(u)) is the sigmoid of 2u = x (2c + 2c 0.044715 x^2), c = sqrt(2 / pi).
__device__ inline Sigmoid gelu_sigmoid(float x) {
  return sigmoid(x * fmaf(0.0713548162726f * x, x, 1.5957691216057f));
}
__device__ inline float gelu_tanh(float x) { return x * gelu_sigmoid(x).value; }
__device__ inline float gelu_tanh_grad(float dy, float x) {
  const Sigmoid s = gelu_sigmoid(x);
  const float y = cut(x, 16.0f);
  const float slope = fmaf(0.2140644488178f * y, y, 1.5957691216057f);
  return dy * fmaf(y * slope, s.slope, s.value);
}

__device__ inline float normal_distribution(float x) {
  return fmaf(0.5f, erff(x * 0.7071067811865f), 0.5f);
}
__device__ inline float gelu(float x) { return x * normal_distribution(x); }
__device__ inline float gelu_grad(float dy, float x) {
  const float y = cut(x, 16.0f);
  const float density = 0.3989422804014f * exp2_approx(-0.7213475204445f * y * y);
  return dy * fmaf(y, density, normal_distribution(x));
}

}  // namespace bessemer::kernels::cuda::activation
