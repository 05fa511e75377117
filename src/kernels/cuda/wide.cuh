// Eight elements at a time, as fp32: two packs of fp32, or one of bf16.
#pragma once

#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda {

inline constexpr int kWide = 8;

struct Wide {
  float at[kWide];
};

/// The address is a multiple of 16 bytes.
template <typename T>
__device__ Wide load_wide(const T* from) {
  constexpr int size = Pack<T>::kSize;
  Pack<T> packs[kWide / size];
  for (int p = 0; p < kWide / size; ++p) packs[p] = load_pack(from + p * size);
  Wide wide;
  for (int i = 0; i < kWide; ++i) wide.at[i] = to_float(packs[i / size].at[i % size]);
  return wide;
}

template <typename T>
__device__ void store_wide(T* to, const Wide& wide) {
  constexpr int size = Pack<T>::kSize;
  Pack<T> packs[kWide / size];
  for (int i = 0; i < kWide; ++i) packs[i / size].at[i % size] = from_float<T>(wide.at[i]);
  for (int p = 0; p < kWide / size; ++p) store_pack(to + p * size, packs[p]);
}

/// The first `count` elements of what may be less than eight; `otherwise` for the rest.
template <typename T>
__device__ Wide load_wide(const T* from, std::int64_t count, float otherwise) {
  if (count >= kWide) return load_wide(from);
  Wide wide;
  for (int i = 0; i < kWide; ++i) wide.at[i] = i < count ? to_float(from[i]) : otherwise;
  return wide;
}

template <typename T>
__device__ void store_wide(T* to, const Wide& wide, std::int64_t count) {
  if (count >= kWide) return store_wide(to, wide);
  for (int i = 0; i < kWide; ++i) {
    if (i < count) to[i] = from_float<T>(wide.at[i]);
  }
}

}  // namespace bessemer::kernels::cuda
