// What kernels are written in: CUDA C++, of which only this much is used, so that the null device
// can run the same files as plain C++ (null/simt.h says how).
//
// A kernel is a __global__ function that reads threadIdx, blockIdx, blockDim and gridDim (all three
// members, as CUDA has them), and is queued by `launch`. Shared memory is __shared__ arrays, or
// `shared_memory<T>()` of the size that the launch gives. Sums are made in one fixed order: there
// are no atomics on floating-point numbers.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "kernels/cuda/device.h"

namespace bessemer::kernels::cuda {

inline constexpr int kWarp = 32;

/// Blocks of a launch, threads of a block, bytes of shared_memory of a block.
struct Grid {
  std::int64_t x = 1, y = 1, z = 1;
  int threads = 1;  // along x; a multiple of kWarp
  std::size_t shared_bytes = 0;
};

/// Four numbers as Fp8E4M3 or Fp8E5M2, the first in the lowest byte, by the conversions of
/// base/dtype.h.
template <typename Format>
constexpr std::uint32_t fp8_codes(float x0, float x1, float x2, float x3) {
  const auto code = [](float x) { return std::uint32_t{Format(x).bits}; };
  return code(x0) | code(x1) << 8 | code(x2) << 16 | code(x3) << 24;
}
template <typename Format>
constexpr void fp8_numbers(std::uint32_t codes, float (&x)[4]) {
  for (int i = 0; i < 4; ++i) {
    x[i] = static_cast<float>(Format::from_bits(static_cast<std::uint8_t>(codes >> (8 * i))));
  }
}

}  // namespace bessemer::kernels::cuda

#ifdef __CUDACC__
#include "kernels/cuda/driver/simt.cuh"
#else
#include "kernels/cuda/null/simt.h"
#endif

namespace bessemer::kernels::cuda {

// Provided by both:
//
//   launch(kernel, grid, stream, arguments...)   queues; Error where the driver refuses
//   sync_block()                                 all threads of the block come here
//   sync_warp()
//   shuffle_xor(value, lanes)                    the value of lane (own ^ lanes), all lanes call it
//   shuffle(value, lane)                         the value of that lane
//   match(value)                                 the lanes whose value is the same, a bit each; all
//                                                lanes call it
//   to_bf16(float)                               rounds to nearest, ties to even
//   to_fp8<Format>(x0, x1, x2, x3)               what fp8_codes gives, and by one instruction for
//   two from_fp8<Format>(codes, x)                   numbers what fp8_numbers gives, where a device
//   has it
//   exp2_approx(float)                           2^x to within 2 units of the last place
//   reciprocal_approx(float)                     1 / x within 1; both take subnormals for zero
//   shared_memory<T>()                           16-byte aligned

__device__ inline int lane() { return static_cast<int>(threadIdx.x) % kWarp; }

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(BFloat16 x) { return static_cast<float>(x); }
template <typename T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline BFloat16 from_float<BFloat16>(float x) {
  return to_bf16(x);
}

/// Sixteen bytes of elements, moved by one instruction; their address is a multiple of 16.
template <typename T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / static_cast<int>(sizeof(T));
  T at[kSize];
};
template <typename T>
__device__ Pack<T> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T>*>(from);
}
template <typename T>
__device__ void store_pack(T* to, const Pack<T>& pack) {
  *reinterpret_cast<Pack<T>*>(to) = pack;
}

/// The sum over the lanes of a warp, in every lane, in the order of a butterfly.
template <typename T>
__device__ T warp_sum(T value) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) value += shuffle_xor(value, lanes);
  return value;
}
template <typename T>
__device__ T warp_max(T value) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    const T other = shuffle_xor(value, lanes);
    value = other > value ? other : value;
  }
  return value;
}

/// The same over a block of at most 1024 threads, in every thread. `combine` is of warps and
/// lanes; all threads call it.
template <typename T, typename Combine>
__device__ T block_combine(T value, T neutral, Combine combine) {
  __shared__ T of_warp[kWarp];
  value = combine(value);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  sync_block();  // an earlier use has been read
  if (lane() == 0) of_warp[warp] = value;
  sync_block();
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  return combine(lane() < warps ? of_warp[lane()] : neutral);
}
template <typename T>
__device__ T block_sum(T value) {
  return block_combine(value, T(0), [](T v) { return warp_sum(v); });
}
template <typename T>
__device__ T block_max(T value, T lowest) {
  return block_combine(value, lowest, [](T v) { return warp_max(v); });
}

}  // namespace bessemer::kernels::cuda
