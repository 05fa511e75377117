// CUDA's own side of simt.cuh.
#pragma once

#include <cstdint>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "kernels/cuda/driver/check.h"

namespace bessemer::kernels::cuda {

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), const Grid& grid, Stream stream,
            Arguments... arguments) {
  // Above 48 KiB shared memory has to be asked for.
  if (grid.shared_bytes > (std::size_t{48} << 10)) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(grid.shared_bytes)),
          "shared memory of a kernel");
  }
  cudaLaunchConfig_t config{};
  config.gridDim = {static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                    static_cast<unsigned>(grid.z)};
  config.blockDim = {static_cast<unsigned>(grid.threads), 1, 1};
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), "launch");
}

__device__ inline void sync_block() { __syncthreads(); }
__device__ inline void sync_warp() { __syncwarp(); }

template <typename T>
__device__ T shuffle(T value, int from) {
  return __shfl_sync(0xffffffffu, value, from);
}
template <typename T>
__device__ T shuffle_xor(T value, int lanes) {
  return __shfl_xor_sync(0xffffffffu, value, lanes);
}

__device__ inline unsigned match(int value) { return __match_any_sync(0xffffffffu, value); }

__device__ inline BFloat16 to_bf16(float x) {
  const __nv_bfloat16_raw raw = __float2bfloat16_rn(x);
  BFloat16 rounded;
  rounded.bits = raw.x;
  return rounded;
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
template <typename Format>
__device__ std::uint32_t to_fp8_pair(float low, float high) {
  std::uint16_t codes;
  if constexpr (std::is_same_v<Format, Fp8E4M3>) {
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(codes) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(codes) : "f"(high), "f"(low));
  }
  return codes;
}
template <typename Format>
__device__ float2 from_fp8_pair(std::uint32_t codes) {
  __half2_raw pair;  // which holds both formats exactly
  const auto low = static_cast<std::uint16_t>(codes);
  std::uint32_t halves;
  if constexpr (std::is_same_v<Format, Fp8E4M3>) {
    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(low));
  } else {
    asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(halves) : "h"(low));
  }
  pair.x = static_cast<std::uint16_t>(halves);
  pair.y = static_cast<std::uint16_t>(halves >> 16);
  return __half22float2(pair);
}
template <typename Format>
__device__ std::uint32_t to_fp8(float x0, float x1, float x2, float x3) {
  return to_fp8_pair<Format>(x0, x1) | to_fp8_pair<Format>(x2, x3) << 16;
}
template <typename Format>
__device__ void from_fp8(std::uint32_t codes, float (&x)[4]) {
  const float2 first = from_fp8_pair<Format>(codes), second = from_fp8_pair<Format>(codes >> 16);
  x[0] = first.x, x[1] = first.y, x[2] = second.x, x[3] = second.y;
}
#else
template <typename Format>
__device__ std::uint32_t to_fp8(float x0, float x1, float x2, float x3) {
  return fp8_codes<Format>(x0, x1, x2, x3);
}
template <typename Format>
__device__ void from_fp8(std::uint32_t codes, float (&x)[4]) {
  fp8_numbers<Format>(codes, x);
}
#endif

__device__ inline float exp2_approx(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}
__device__ inline float reciprocal_approx(float x) {
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(x));
  return inverse;
}

template <typename T>
__device__ T* shared_memory() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
}

}  // namespace bessemer::kernels::cuda
