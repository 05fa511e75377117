// The largest magnitude of many numbers, as what finds it in parts sees it: the bits of a
// magnitude, which order as the magnitudes do, with NaN above all. A maximum is the same in any
// order.
#pragma once

#include <algorithm>
#include <bit>

#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda {

using Magnitude = std::uint32_t;

__device__ inline Magnitude magnitude(float x) {
  return std::bit_cast<std::uint32_t>(x) & 0x7fffffffu;
}
__device__ inline float number(Magnitude m) { return std::bit_cast<float>(m); }

/// One block: the largest of `count` parts.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    largest_of(const Magnitude* parts, std::int64_t count, float* result) {
  Magnitude largest = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kThreads) {
    largest = std::max(largest, parts[i]);
  }
  largest = block_max(largest, Magnitude{0});
  if (threadIdx.x == 0) *result = number(largest);
}

inline void launch_largest_of(const Magnitude* parts, std::int64_t count, float* result,
                              Stream stream) {
  constexpr int kThreads = 512;
  launch(largest_of<kThreads>, Grid{1, 1, 1, kThreads}, stream, parts, count, result);
}

}  // namespace bessemer::kernels::cuda
