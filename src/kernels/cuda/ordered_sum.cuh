// Sums of rows, strictly one after the other: (first + row 0) + row 1 + ... The additions of a
// column are a chain, but what they add need not wait: a block brings many rows of a few columns
// into shared memory at once, and its first warp adds them up while the next ones are on their way.
#pragma once

#include "kernels/cuda/floats.cuh"

namespace bessemer::kernels::cuda {

/// A block of kThreads sums kColumns columns, kSize of them by one access.
template <typename T, int kSize>
struct OrderedSum {
  static constexpr int kThreads = 256;
  static constexpr int kColumns = kWarp;
  static constexpr int kAcross = kColumns / kSize;  // threads that load a row
  static constexpr int kRows = kThreads / kAcross;  // rows that are loaded at once
  static constexpr int kRounds = 4;
  static constexpr int kTile = kRows * kRounds;
  static constexpr std::size_t kSharedBytes = kTile * kColumns * sizeof(T);

  /// `sum` and, on top of it, the rows of column `first_column` + lane; right in the first warp.
  /// row_at(r) is where row r begins, of `width` elements, a multiple of kSize. All threads of the
  /// block call it.
  template <typename RowAt>
  static __device__ float run(float sum, std::int64_t rows, std::int64_t first_column,
                              std::int64_t width, RowAt row_at) {
    T* tile = shared_memory<T>();
    Run<T, kSize> mine[kRounds] = {};
    const int thread = static_cast<int>(threadIdx.x);
    const std::int64_t column = first_column + thread % kAcross * kSize;
    const auto load = [&](std::int64_t begin) {
      for (int k = 0; k < kRounds; ++k) {
        const std::int64_t row = begin + k * kRows + thread / kAcross;
        if (row < rows && column < width) mine[k] = load_run<kSize>(row_at(row) + column);
      }
    };
    load(0);
    for (std::int64_t begin = 0; begin < rows; begin += kTile) {
      sync_block();  // the tile before has been added
      for (int k = 0; k < kRounds; ++k) {
        reinterpret_cast<Run<T, kSize>*>(tile)[k * kThreads + thread] = mine[k];
      }
      sync_block();
      load(begin + kTile);
      if (thread < kWarp) {
        sum =
            add(sum, tile + thread, static_cast<int>(std::min<std::int64_t>(kTile, rows - begin)));
      }
    }
    return sum;
  }

 private:
  static __device__ float add(float sum, const T* column, int rows) {
    constexpr int kAhead = 8;  // loads that do not wait for the sum
    int row = 0;
    for (; row + kAhead <= rows; row += kAhead) {
      float next[kAhead];
      for (int k = 0; k < kAhead; ++k) next[k] = to_float(column[(row + k) * kColumns]);
      for (int k = 0; k < kAhead; ++k) sum += next[k];
    }
    for (; row < rows; ++row) sum += to_float(column[row * kColumns]);
    return sum;
  }
};

/// y = addend + the sum of `parts` rows of partial sums, for each of `outer`: partials are
/// [outer, parts, width], addend and y [outer, width], addend null where absent. A second result
/// takes the place of y for columns from `width_of_first` on, where there is one.
template <typename U>
struct PartialSums {
  const float* partials;
  std::int64_t outer, parts, width;
  const U* addend;
  U* y;
  U* second = nullptr;
  std::int64_t width_of_first = 0;
};

template <typename U, int kSize>
__global__ void __launch_bounds__(256) add_partials(PartialSums<U> p) {
  using Sum = OrderedSum<float, kSize>;
  const std::int64_t tiles = (p.width + Sum::kColumns - 1) / Sum::kColumns;
  const std::int64_t o = blockIdx.x / tiles;
  const std::int64_t first = blockIdx.x % tiles * Sum::kColumns;
  const std::int64_t column = first + lane();
  const bool mine = threadIdx.x < kWarp && column < p.width;
  float sum = mine && p.addend != nullptr ? to_float(p.addend[o * p.width + column]) : 0.0f;
  const float* partials = p.partials + o * p.parts * p.width;
  sum = Sum::run(sum, p.parts, first, p.width,
                 [&](std::int64_t part) { return partials + part * p.width; });
  if (!mine) return;
  const bool in_second = p.second != nullptr && column >= p.width_of_first;
  U* to = in_second ? p.second + (column - p.width_of_first) : p.y + (o * p.width + column);
  *to = from_float<U>(sum);
}

template <typename U>
void launch_add_partials(const PartialSums<U>& p, Stream stream) {
  const auto queue = [&](auto kernel, auto sum) {
    const std::int64_t tiles = (p.width + sum.kColumns - 1) / sum.kColumns;
    launch(kernel, Grid{p.outer * tiles, 1, 1, sum.kThreads, sum.kSharedBytes}, stream, p);
  };
  if (p.width % 4 == 0) {
    queue(add_partials<U, 4>, OrderedSum<float, 4>());
  } else {
    queue(add_partials<U, 1>, OrderedSum<float, 1>());
  }
}

}  // namespace bessemer::kernels::cuda
