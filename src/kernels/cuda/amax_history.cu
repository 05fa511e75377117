// What delayed scaling keeps: a few numbers for each tensor, a thread a tensor.
#include <algorithm>

#include "base/rounding.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/largest.cuh"
#include "kernels/prepare.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 128;

/// Where the largest magnitudes of some tensors lie; null for those that have none.
constexpr int kMostTensors = 1024;  // of the 32764 bytes that a kernel's parameters may take
struct Amaxes {
  const float* of[kMostTensors];
};

__global__ void __launch_bounds__(kThreads)
    collect(const __grid_constant__ Amaxes amaxes, std::int64_t tensors, const float* before,
            float* collected) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= tensors) return;
  const Magnitude known = before == nullptr ? Magnitude{0} : magnitude(before[i]);
  const float* amax = amaxes.of[i];
  collected[i] = number(amax == nullptr ? known : std::max(known, magnitude(*amax)));
}

/// From the oldest step on, so that a result may be its operand.
__global__ void __launch_bounds__(kThreads)
    shift(const float* before, std::int64_t steps, std::int64_t tensors, const float* collected,
          const float* coefficient, float* history, float* amax) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= tensors) return;
  const bool skipped = std::isnan(*coefficient);
  Magnitude largest = 0;
  for (std::int64_t step = steps - 1; step >= 0; --step) {
    const std::int64_t at = step * tensors + i;
    const float of_step = skipped ? before[at] : step > 0 ? before[at - tensors] : collected[i];
    history[at] = of_step;
    largest = std::max(largest, magnitude(of_step));
  }
  amax[i] = number(largest);
}

Grid grid_of(std::int64_t tensors) {
  return {divide_up(tensors, std::int64_t{kThreads}), 1, 1, kThreads};
}

}  // namespace

Prepared collect_amax(const KernelRequest& request) {
  const std::int64_t tensors = request.results[0].elements();
  return make_kernel([tensors](const KernelBuffers& buffers) {
    const auto* before = buffers.operand<float>(0);
    auto* collected = buffers.result<float>(0);
    for (std::int64_t first = 0; first < tensors; first += kMostTensors) {
      const std::int64_t count = std::min<std::int64_t>(tensors - first, kMostTensors);
      Amaxes amaxes{};
      for (std::int64_t i = 0; i < count; ++i) {
        amaxes.of[i] = buffers.operand<float>(static_cast<std::size_t>(first + i) + 1);
      }
      launch(collect, grid_of(count), buffers.stream, amaxes, count,
             before == nullptr ? nullptr : before + first, collected + first);
    }
  });
}

Prepared amax_history(const KernelRequest& request) {
  const std::int64_t steps = request.operand(0).dim(0), tensors = request.operand(0).dim(1);
  return make_kernel([steps, tensors](const KernelBuffers& buffers) {
    launch(shift, grid_of(tensors), buffers.stream, buffers.operand<float>(0), steps, tensors,
           buffers.operand<float>(1), buffers.operand<float>(2), buffers.result<float>(0),
           buffers.result<float>(1));
  });
}

}  // namespace bessemer::kernels::cuda
