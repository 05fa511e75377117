// Tiles of bf16 rows in shared memory and their products on the tensor cores, for the attention
// kernels. A block is kTileWarps warps; each keeps its own rows of a product in registers.
#pragma once

#include "kernels/cuda/attention_problem.cuh"
#include "kernels/cuda/mma.cuh"

namespace bessemer::kernels::cuda {

inline constexpr int kTileWarps = 4;
inline constexpr int kTileThreads = kTileWarps * kWarp;
// Where rows are queries.
inline constexpr int kRowTiles = 2;  // of 16 queries, in a warp
inline constexpr int kWarpQueries = 16 * kRowTiles;
inline constexpr int kQueries = kTileWarps * kWarpQueries;
static_assert(kQueries == kTileThreads && kWarpQueries == kWarp, "a thread for each query");

/// Whether these tiles take the problem: rows of whole packs, scores whose order scaling keeps.
inline bool fits_tiles(const AttentionProblem& problem) {
  return problem.dtype == DType::bf16 && problem.head_size % 8 == 0 && problem.head_size <= 128 &&
         problem.scale > 0;
}

/// Which queries of which head a block has. Tiles of one head are neighbours, for the keys to stay
/// in the L2 cache, with the last first, which under a causal mask see the most.
struct QueryTile {
  __device__ explicit QueryTile(const Attention& problem) {
    const int tiles = (problem.queries + kQueries - 1) / kQueries;
    const int head_of_all = static_cast<int>(blockIdx.x) / tiles;
    first = (tiles - 1 - static_cast<int>(blockIdx.x) % tiles) * kQueries;
    b = head_of_all / problem.heads;
    head = head_of_all % problem.heads;
    key_head = head / problem.heads_per_key_head();
  }
  int b, head, key_head, first;
};

/// The union of the intervals of all warps, given by each of their lanes.
__device__ inline Interval union_of_block(const Interval& of_warp) {
  __shared__ Interval of_warps[kTileWarps];
  if (lane() == 0) of_warps[static_cast<int>(threadIdx.x) / kWarp] = of_warp;
  sync_block();
  Interval all = of_warps[0];
  for (int w = 1; w < kTileWarps; ++w) {
    all.low = std::min(all.low, of_warps[w].low);
    all.high = std::max(all.high, of_warps[w].high);
  }
  return all;
}

/// Rows of kWidth elements. Eight more keep them apart: eight rows' 16 bytes at one column then lie
/// in different banks, for any kWidth that is a multiple of 16.
template <int kWidth>
struct Tile {
  static constexpr int kStride = kWidth + 8;
  static constexpr std::size_t bytes(int rows) { return sizeof(BFloat16) * kStride * rows; }

  BFloat16* at;

  __device__ BFloat16* row(int i) const { return at + i * kStride; }
  __device__ Tile from(int i) const { return {row(i)}; }

  /// Operand A: rows and columns [first, first + 16).
  __device__ Fragment rows(int row_first, int column_first) const {
    return load_matrices(row(row_first + lane() % 16) + column_first + lane() / 16 * 8);
  }
  /// Operands B: rows [first, first + 16) as columns.
  __device__ Fragment rows_as_columns(int row_first, int column_first) const {
    return load_matrices(row(row_first + lane() % 8 + lane() / 16 * 8) + column_first +
                         lane() / 8 % 2 * 8);
  }
  /// Operands B: columns [first, first + 16).
  __device__ Fragment columns(int row_first, int column_first) const {
    return load_matrices_transposed(row(row_first + lane() % 16) + column_first + lane() / 16 * 8);
  }
};

/// Begins to copy kRows rows of `width` elements; zeros where they end, and from row `rows` on.
template <int kRows, int kWidth>
__device__ void copy_tile(const Tile<kWidth>& to, const BFloat16* from, int stride, int rows,
                          int width) {
  constexpr int kPacks = kWidth / 8;
  static_assert(kRows * kPacks % kTileThreads == 0);
#pragma unroll 1  // else their addresses crowd the registers
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kPacks; i += kTileThreads) {
    const int row = i / kPacks, column = i % kPacks * 8;
    const bool there = row < rows && column < width;
    copy_async(to.row(row) + column, there ? from + std::int64_t{row} * stride + column : from,
               there);
  }
}

/// A warp's part of a product: 16·kM rows, 8·kN columns; of each 16 x 8 a lane has four elements.
template <int kM, int kN>
struct Part {
  float at[kM][kN][4] = {};
};
/// The row (less 16·m) and the column (less 8·n) of element i of this lane.
__device__ inline int part_row(int i) { return lane() / 4 + 8 * (i / 2); }
__device__ inline int part_column(int i) { return 2 * (lane() % 4) + i % 2; }

/// Rows of a, from the first, times rows of b.
template <int kM, int kN, int kWidth>
__device__ Part<kM, kN> rows_times_rows(const Tile<kWidth>& a, const Tile<kWidth>& b) {
  Part<kM, kN> c;
#pragma unroll
  for (int k = 0; k < kWidth; k += 16) {
    Fragment rows[kM];
#pragma unroll
    for (int m = 0; m < kM; ++m) rows[m] = a.rows(16 * m, k);
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      const Fragment columns = b.rows_as_columns(8 * n, k);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        multiply(c.at[m][n], rows[m], columns.at[0], columns.at[1]);
        multiply(c.at[m][n + 1], rows[m], columns.at[2], columns.at[3]);
      }
    }
  }
  return c;
}

/// c += weights, rounded to bf16, times b, whose rows are the weights' columns.
template <int kM, int kK, int kN, int kWidth>
__device__ void add_product(Part<kM, kN>& c, const Part<kM, kK>& weights, const Tile<kWidth>& b) {
  static_assert(kN * 8 == kWidth);
#pragma unroll
  for (int k = 0; k < kK; k += 2) {
    Fragment rows[kM];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      const float(&left)[4] = weights.at[m][k];
      const float(&right)[4] = weights.at[m][k + 1];
      rows[m] = {{pack_bf16(left[0], left[1]), pack_bf16(left[2], left[3]),
                  pack_bf16(right[0], right[1]), pack_bf16(right[2], right[3])}};
    }
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      const Fragment columns = b.columns(8 * k, 8 * n);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        multiply(c.at[m][n], rows[m], columns.at[0], columns.at[1]);
        multiply(c.at[m][n + 1], rows[m], columns.at[2], columns.at[3]);
      }
    }
  }
}

template <int kM, int kN>
__device__ void scale_part(Part<kM, kN>& part, float factor) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kN; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) part.at[m][n][i] *= factor;
    }
  }
}

/// Writes a warp's 16·kM rows of `width` elements, those below `rows`, by way of its own rows of a
/// tile that no copy is under way to.
template <int kM, int kN, int kWidth>
__device__ void store_part(const Part<kM, kN>& part, const Tile<kWidth>& through, BFloat16* to,
                           int stride, int rows, int width) {
  static_assert(kN * 8 == kWidth);
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kN; ++n) {
#pragma unroll
      for (int i = 0; i < 4; i += 2) {
        BFloat16* at = through.row(16 * m + part_row(i)) + 8 * n + part_column(i);
        *reinterpret_cast<std::uint32_t*>(at) = pack_bf16(part.at[m][n][i], part.at[m][n][i + 1]);
      }
    }
  }
  sync_warp();
  constexpr int kPacks = kWidth / 8;
  for (int i = lane(); i < 16 * kM * kPacks; i += kWarp) {
    const int row = i / kPacks, column = i % kPacks * 8;
    if (row >= rows || column >= width) continue;
    store_pack(to + std::int64_t{row} * stride + column, load_pack(through.row(row) + column));
  }
}

/// Scores of keys that a query does not see become -inf; rows are queries.
template <int kM, int kN>
__device__ void hide(Part<kM, kN>& scores, const Interval* seen, int first_key) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Interval of_row = seen[16 * m + part_row(2 * half)];
#pragma unroll
      for (int n = 0; n < kN; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          if (!of_row.has(first_key + 8 * n + part_column(i))) scores.at[m][n][i] = -INFINITY;
        }
      }
    }
  }
}

/// Which elements of one 16 x 8 of a part, whose rows are queries, dropout keeps; bit i for element
/// i. `first` is the index of key 0 under the first of its queries, `key` the key of its first
/// column, a multiple of 8.
__device__ inline unsigned kept_by_queries(const Dropout& dropout, std::uint64_t first, int key,
                                           int keys) {
  const std::uint64_t upper = first + static_cast<std::uint64_t>(lane() / 4) * keys + key;
  const std::uint64_t lower = upper + std::uint64_t{8} * keys;
  if (keys % 4 == 0) {
    // Two lanes share two blocks: the even one draws the upper row's, the odd one the lower row's.
    const int half = lane() % 2;
    const unsigned own = dropout.kept_of_block(((half == 0 ? upper : lower) + part_column(0)) / 4);
    const unsigned other = shuffle_xor(own, 1);
    const unsigned both = half == 0 ? own | other << 4 : other | own << 4;
    return (both >> (2 * half) & 3u) | (both >> (4 + 2 * half) & 3u) << 2;
  }
  unsigned kept = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const bool keeps = dropout.keeps((i < 2 ? upper : lower) + part_column(i));
    kept |= keeps ? 1u << i : 0u;
  }
  return kept;
}

/// The same of a part whose rows are keys: `first` is the index of its first key under the query of
/// its first column; that key is a multiple of 16.
__device__ inline unsigned kept_by_keys(const Dropout& dropout, std::uint64_t first, int keys) {
  const auto index = [&](int i) {
    return first + static_cast<std::uint64_t>(part_column(i)) * keys + part_row(i);
  };
  unsigned kept = 0;
  if (keys % 4 == 0) {
    // Four lanes, of four rows, share four blocks: each draws that of one element and shows it.
    const int own = lane() / 4 % 4;
    const std::uint64_t column = first + static_cast<std::uint64_t>(part_column(own)) * keys;
    const unsigned drawn = dropout.kept_of_block((column + part_row(own)) / 4);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const unsigned block = shuffle(drawn, lane() / 16 * 16 + 4 * i + lane() % 4);
      kept |= (block >> own & 1u) << i;
    }
    return kept;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) kept |= dropout.keeps(index(i)) ? 1u << i : 0u;
  return kept;
}

}  // namespace bessemer::kernels::cuda
