// What delayed scaling keeps: a few numbers for each tensor.
#include <algorithm>

#include "base/rounding.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/largest.cuh"
#include "kernels/prepare.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 128;

/// Where the largest magnitudes of the parts of some tensors lie, and how many; none for those that
/// were not measured.
constexpr int kMostTensors = 1024;  // of the 32764 bytes that a kernel's parameters may take
struct Amaxes {
  const float* of[kMostTensors];
  std::int64_t count[kMostTensors];
};

/// A block a tensor.
__global__ void __launch_bounds__(kThreads)
    collect(const __grid_constant__ Amaxes amaxes, const float* before, float* collected) {
  const std::int64_t i = blockIdx.x;
  const float* amax = amaxes.of[i];
  Magnitude largest = before == nullptr ? Magnitude{0} : magnitude(before[i]);
  for (std::int64_t part = threadIdx.x; part < amaxes.count[i]; part += kThreads) {
    largest = std::max(largest, magnitude(amax[part]));
  }
  largest = block_max(largest, Magnitude{0});
  if (threadIdx.x == 0) collected[i] = number(largest);
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
  std::vector<std::int64_t> parts;
  for (std::int64_t i = 1; i <= tensors; ++i) {
    const auto operand = static_cast<std::size_t>(i);
    parts.push_back(request.has_operand(operand) ? request.operand(operand).elements() : 0);
  }
  return make_kernel([tensors, parts](const KernelBuffers& buffers) {
    const auto* before = buffers.operand<float>(0);
    auto* collected = buffers.result<float>(0);
    for (std::int64_t first = 0; first < tensors; first += kMostTensors) {
      const std::int64_t count = std::min<std::int64_t>(tensors - first, kMostTensors);
      Amaxes amaxes{};
      for (std::int64_t i = 0; i < count; ++i) {
        const auto tensor = static_cast<std::size_t>(first + i);
        amaxes.of[i] = buffers.operand<float>(tensor + 1);
        amaxes.count[i] = parts[tensor];
      }
      launch(collect, Grid{count, 1, 1, kThreads}, buffers.stream, amaxes,
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
