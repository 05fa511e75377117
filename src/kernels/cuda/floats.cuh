// Neighbouring elements, moved by as few instructions as they allow and computed with as floats.
#pragma once

#include <algorithm>
#include <type_traits>

#include "kernels/cuda/simt.cuh"
#include "kernels/kernel.h"

namespace bessemer::kernels::cuda {

/// kCount neighbours; their address is a multiple of their size, or of 16 bytes if that is less.
template <typename T, int kCount>
struct alignas(std::min<std::size_t>(16, kCount * sizeof(T))) Run {
  T at[kCount];
};

template <int kCount, typename T>
__device__ Run<T, kCount> load_run(const T* from) {
  return *reinterpret_cast<const Run<T, kCount>*>(from);
}

template <typename T, int kCount>
__device__ Run<float, kCount> to_floats(const Run<T, kCount>& run) {
  Run<float, kCount> floats;
  for (int e = 0; e < kCount; ++e) floats.at[e] = to_float(run.at[e]);
  return floats;
}

template <int kCount, typename T>
__device__ Run<float, kCount> load_floats(const T* from) {
  return to_floats(load_run<kCount>(from));
}

/// Rounded to T.
template <typename T, int kCount>
__device__ void store_floats(T* to, const Run<float, kCount>& floats) {
  Run<T, kCount> run;
  for (int e = 0; e < kCount; ++e) run.at[e] = from_float<T>(floats.at[e]);
  *reinterpret_cast<Run<T, kCount>*>(to) = run;
}

/// Eight: two packs of fp32, or one of bf16.
inline constexpr int kWide = 8;
using Wide = Run<float, kWide>;

/// The first `count` of what may be fewer than eight; `otherwise` for the rest.
template <typename T>
__device__ Wide load_wide(const T* from, std::int64_t count, float otherwise) {
  if (count >= kWide) return load_floats<kWide>(from);
  Wide wide;
  for (int i = 0; i < kWide; ++i) wide.at[i] = i < count ? to_float(from[i]) : otherwise;
  return wide;
}

template <typename T>
__device__ void store_wide(T* to, const Wide& wide, std::int64_t count) {
  if (count >= kWide) return store_floats(to, wide);
  for (int i = 0; i < kWide; ++i) {
    if (i < count) to[i] = from_float<T>(wide.at[i]);
  }
}

/// `make` called with a value of the element type: of fp32 or bf16.
template <typename Make>
std::invoke_result_t<Make, float> of_dtype(DType dtype, Make make) {
  return dtype == DType::bf16 ? make(BFloat16()) : make(float());
}

}  // namespace bessemer::kernels::cuda
