// Tiles of fp32 rows in shared memory for the plain attention kernels. A block has four warps, each
// four rows; 32 columns at a time stand opposite them, one for each lane. Rows have 32·kChunks
// elements, zeros beyond the head size.
#pragma once

#include "kernels/cuda/attention_problem.cuh"

namespace bessemer::kernels::cuda {

inline constexpr int kPlainWarps = 4;
inline constexpr int kPlainThreads = kPlainWarps * kWarp;
inline constexpr int kWarpRows = 4;
inline constexpr int kPlainRows = kPlainWarps * kWarpRows;

/// Where lanes read a row each, it has four elements more, so that 16 bytes of each lie in
/// different banks.
template <int kChunks>
struct FloatTile {
  static constexpr int kWidth = kWarp * kChunks;
  static constexpr int kStride = kWidth + 4;
  static constexpr int floats(int rows) { return kStride * rows; }

  float* at;

  __device__ float* row(int i) const { return at + i * kStride; }

  template <int kRows, typename T>
  __device__ void load(const T* from, int stride, int rows, int width) const {
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kWidth; i += kPlainThreads) {
      const int r = i / kWidth, d = i % kWidth;
      row(r)[d] = r < rows && d < width ? to_float(from[std::int64_t{r} * stride + d]) : 0.0f;
    }
  }
};

/// For each of a warp's rows, of which `rows` is the first: its product with this lane's column.
template <int kChunks>
__device__ void dot_rows(float (&dots)[kWarpRows], const FloatTile<kChunks>& tile, int first_row,
                         const FloatTile<kChunks>& columns) {
  const float* column = columns.row(lane());
  for (int r = 0; r < kWarpRows; ++r) dots[r] = 0;
#pragma unroll 4
  for (int d = 0; d < FloatTile<kChunks>::kWidth; d += 4) {
    const Pack<float> own = load_pack(column + d);
    for (int r = 0; r < kWarpRows; ++r) {
      const Pack<float> row = load_pack(tile.row(first_row + r) + d);
      for (int i = 0; i < 4; ++i) dots[r] += row.at[i] * own.at[i];
    }
  }
}

/// A warp's rows of a result: element lane + 32·j of row r.
template <int kChunks>
struct RowSums {
  float at[kWarpRows][kChunks] = {};

  /// Adds rows of `columns`, weighted: weights[kWarpRows][kWarp], of this warp.
  __device__ void add(const float* weights, const FloatTile<kChunks>& columns) {
    for (int s = 0; s < kWarp; ++s) {
      const float* column = columns.row(s) + lane();
#pragma unroll
      for (int j = 0; j < kChunks; ++j) {
        const float value = column[kWarp * j];
#pragma unroll
        for (int r = 0; r < kWarpRows; ++r) at[r][j] += weights[r * kWarp + s] * value;
      }
    }
  }

  template <typename T>
  __device__ void store(int r, float factor, T* to, int width) const {
#pragma unroll
    for (int j = 0; j < kChunks; ++j) {
      const int d = lane() + kWarp * j;
      if (d < width) to[d] = from_float<T>(at[r][j] * factor);
    }
  }
};

/// Calls prepare<T, kChunks>(attention) for the dtype and the head size of a problem.
template <typename Prepare>
Prepared prepare_plain(const AttentionProblem& problem, const Prepare& prepare) {
  const Attention attention = without_buffers(problem);
  const auto of_dtype = [&]<typename T>() -> Prepared {
    if (problem.head_size <= 64) return prepare.template operator()<T, 2>(attention);
    if (problem.head_size <= 128) return prepare.template operator()<T, 4>(attention);
    return prepare.template operator()<T, 8>(attention);
  };
  if (problem.dtype == DType::bf16) return of_dtype.template operator()<BFloat16>();
  return of_dtype.template operator()<float>();
}

}  // namespace bessemer::kernels::cuda
