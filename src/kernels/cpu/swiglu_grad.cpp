// The gradient of swiglu has two results that share one sigmoid, so it has a loop of its own
// instead of a program (elementwise.cpp).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/swiglu_grad.cpp"
#include "kernels/cpu/simd_math.h"

#include "base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/prepare.h"

#ifndef BESSEMER_KERNELS_CPU_SWIGLU_GRAD_ARGUMENTS
#define BESSEMER_KERNELS_CPU_SWIGLU_GRAD_ARGUMENTS
namespace bessemer::kernels::cpu {

/// All of one dtype and length; dgate may be gate, dup may be up.
struct SwigluGradient {
  DType dtype;
  const void* dy;
  const void* gate;
  const void* up;
  void* dgate;
  void* dup;
};

}  // namespace bessemer::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

template <typename T>
void swiglu_gradient_of(const SwigluGradient& args, std::int64_t begin, std::int64_t end) {
  const T* dy = static_cast<const T*>(args.dy);
  const T* gate = static_cast<const T*>(args.gate);
  const T* up = static_cast<const T*>(args.up);
  T* dgate = static_cast<T*>(args.dgate);
  T* dup = static_cast<T*>(args.dup);
  for_each_vector(begin, end, [&](std::int64_t i, auto access) {
    const FloatVec gradient = access.load(dy + i), x = access.load(gate + i);
    const SigmoidSlope s = sigmoid_slope(x);
    const FloatVec silu_slope = hn::MulAdd(limit(x, -87.0f, 87.0f), s.slope, s.value);
    const FloatVec to_gate = hn::Mul(hn::Mul(gradient, access.load(up + i)), silu_slope);
    access.store(hn::Mul(gradient, hn::Mul(x, s.value)), dup + i);
    access.store(to_gate, dgate + i);
  });
}

void swiglu_gradient(const SwigluGradient& args, std::int64_t begin, std::int64_t end) {
  if (args.dtype == DType::bf16) {
    swiglu_gradient_of<BFloat16>(args, begin, end);
  } else {
    swiglu_gradient_of<float>(args, begin, end);
  }
}

}  // namespace
}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
namespace {
HWY_EXPORT(swiglu_gradient);
}

Prepared swiglu_grad(const KernelRequest& request) {
  if (auto declined = decline_other_floats(request)) return *declined;
  const DType dtype = request.operand(1).dtype;
  const std::int64_t elements = request.operand(1).elements();
  return make_kernel([dtype, elements](const KernelBuffers& buffers) {
    const SwigluGradient args{dtype,
                              buffers.operand<void>(0),
                              buffers.operand<void>(1),
                              buffers.operand<void>(2),
                              buffers.result<void>(0),
                              buffers.result<void>(1)};
    parallel_for(elements, kGrain, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(swiglu_gradient)(args, begin, end);
    });
  });
}

}  // namespace bessemer::kernels::cpu
#endif
