// Attention backward without the tensor cores, for fp32 and odd shapes. Rows are the side whose
// gradient a block makes: 16 of them, 4 a warp; columns are the other side, 32 at a time, one for
// each lane. One kernel does either side. Bound by shared memory, as the forward pass is.
#include "kernels/cuda/attention_grad.cuh"

#include "base/rounding.h"
#include "kernels/cuda/attention_plain.cuh"
#include "kernels/cuda/attention_plain.h"

namespace bessemer::kernels::cuda {
namespace {

enum class Rows { queries, keys };

/// Of queries and keys: q and do, or k and v.
template <int kChunks>
struct PlainGradShared {
  using Tile = FloatTile<kChunks>;
  __device__ explicit PlainGradShared(float* floats)
      : rows{floats},
        row_partners{rows.row(kPlainRows)},
        columns{row_partners.row(kPlainRows)},
        column_partners{columns.row(kWarp)},
        weights(column_partners.row(kWarp)),
        gradients(weights + kPlainRows * kWarp) {}
  static constexpr std::size_t kBytes =
      sizeof(float) * (Tile::floats(2 * (kPlainRows + kWarp)) + 2 * kPlainRows * kWarp);

  Tile rows, row_partners, columns, column_partners;
  float *weights, *gradients;  // P M and dS, [kPlainRows][kWarp]
};

/// What block `blockIdx.x` makes the gradient of: rows of one head.
template <Rows kRows>
struct RowTile {
  __device__ explicit RowTile(const Attention& problem) {
    const int rows = kRows == Rows::queries ? problem.queries : problem.keys;
    const int heads = kRows == Rows::queries ? problem.heads : problem.key_heads;
    const int tiles = (rows + kPlainRows - 1) / kPlainRows;
    const int head_of_all = static_cast<int>(blockIdx.x) / tiles;
    first = static_cast<int>(blockIdx.x) % tiles * kPlainRows;
    b = head_of_all / heads;
    head = head_of_all % heads;
  }
  int b, head, first;
};

/// Loads q and do of kCount queries, or k and v of as many keys.
template <int kCount, typename T, int kChunks>
__device__ void load_queries(const FloatTile<kChunks>& q, const FloatTile<kChunks>& d_o,
                             const Backward<T>& backward, int b, int t, int head) {
  const Attention& problem = backward.problem;
  const std::int64_t row = problem.query_row(b, t, head);
  q.template load<kCount>(backward.q + row, problem.query_stride(), problem.queries - t,
                          problem.head_size);
  d_o.template load<kCount>(backward.d_o + row, problem.query_stride(), problem.queries - t,
                            problem.head_size);
}
template <int kCount, typename T, int kChunks>
__device__ void load_keys(const FloatTile<kChunks>& k, const FloatTile<kChunks>& v,
                          const Backward<T>& backward, int b, int s, int key_head) {
  const Attention& problem = backward.problem;
  const std::int64_t row = problem.key_row(b, s, key_head);
  k.template load<kCount>(backward.k + row, problem.key_stride(), problem.keys - s,
                          problem.head_size);
  v.template load<kCount>(backward.v + row, problem.key_stride(), problem.keys - s,
                          problem.head_size);
}

struct PairGradient {
  float weight, gradient;  // P M and dS, but for their scales
};

/// Of query `t` under head `head`, whose facts there are, and key `s`.
template <typename T>
__device__ PairGradient differentiate(const Backward<T>& backward, int b, int head, int t, int s,
                                      float score, float dp) {
  const Attention& problem = backward.problem;
  const QueryFacts& facts = backward.facts;
  if (!facts.seen[facts.query(b, t)].has(s)) return {0, 0};
  const RowStatistic row = facts.statistics[facts.statistic(b, head, t, problem.heads)];
  const float p = std::exp2(score * problem.log2_scale - row.base);
  const bool kept = problem.counter == nullptr ||
                    Dropout(problem).keeps(attention_dropout_index(b, head, t, s, problem.heads,
                                                                   problem.queries, problem.keys));
  const float dropped = kept ? dp * problem.keep_scale : 0.0f;
  return {kept ? p : 0.0f, p * (dropped - row.delta)};
}

template <typename T, int kChunks, Rows kRows>
class PlainGrad {
 public:
  __device__ explicit PlainGrad(const Backward<T>& backward)
      : backward_(backward),
        shared_(shared_memory<float>()),
        tile_(backward.problem),
        first_row_(static_cast<int>(threadIdx.x) / kWarp * kWarpRows) {}

  __device__ void run() {
    if constexpr (kRows == Rows::queries) {
      const int key_head = tile_.head / backward_.problem.heads_per_key_head();
      load_queries<kPlainRows>(shared_.rows, shared_.row_partners, backward_, tile_.b, tile_.first,
                               tile_.head);
      meet(tile_.head, key_head, backward_.problem.keys);
    } else {
      const int group = backward_.problem.heads_per_key_head();
      load_keys<kPlainRows>(shared_.rows, shared_.row_partners, backward_, tile_.b, tile_.first,
                            tile_.head);
      for (int i = 0; i < group; ++i) {
        meet(tile_.head * group + i, tile_.head, backward_.problem.queries);
      }
    }
    store();
  }

 private:
  /// All columns of one head.
  __device__ void meet(int head, int key_head, int columns) {
    for (int first = 0; first < columns; first += kWarp) {
      if (!sees(first)) continue;
      sync_block();  // the columns before have been read
      if constexpr (kRows == Rows::queries) {
        load_keys<kWarp>(shared_.columns, shared_.column_partners, backward_, tile_.b, first,
                         key_head);
      } else {
        load_queries<kWarp>(shared_.columns, shared_.column_partners, backward_, tile_.b, first,
                            head);
      }
      sync_block();
      add(head, first);
    }
  }

  /// Whether any query of the tile that holds these sees any of the keys.
  __device__ bool sees(int first_column) const {
    const QueryFacts& facts = backward_.facts;
    const int t = kRows == Rows::queries ? tile_.first : first_column;
    const int s = kRows == Rows::queries ? first_column : tile_.first;
    const int keys = kRows == Rows::queries ? kWarp : kPlainRows;
    const std::int64_t at = std::int64_t{tile_.b} * (facts.padded / kFactTile) + t / kFactTile;
    return facts.sight[at].sees_any(s, s + keys);
  }

  __device__ void add(int head, int first_column) {
    float scores[kWarpRows], dp[kWarpRows];
    dot_rows(scores, shared_.rows, first_row_, shared_.columns);
    dot_rows(dp, shared_.row_partners, first_row_, shared_.column_partners);
    float* weights = shared_.weights + first_row_ * kWarp;
    float* gradients = shared_.gradients + first_row_ * kWarp;
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
      const int row = tile_.first + first_row_ + r, column = first_column + lane();
      const int t = kRows == Rows::queries ? row : column;
      const int s = kRows == Rows::queries ? column : row;
      const PairGradient of_pair = differentiate(backward_, tile_.b, head, t, s, scores[r], dp[r]);
      weights[r * kWarp + lane()] = of_pair.weight;
      gradients[r * kWarp + lane()] = of_pair.gradient;
    }
    sync_warp();
    sums_.add(gradients, shared_.columns);
    if constexpr (kRows == Rows::keys) partner_sums_.add(weights, shared_.column_partners);
    sync_warp();  // they have been read
  }

  __device__ void store() const {
    const Attention& problem = backward_.problem;
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
      const int row = tile_.first + first_row_ + r;
      if (row >= (kRows == Rows::queries ? problem.queries : problem.keys)) break;
      if constexpr (kRows == Rows::queries) {
        const std::int64_t at = problem.query_row(tile_.b, row, tile_.head);
        sums_.store(r, problem.scale, backward_.dq + at, problem.head_size);
      } else {
        const std::int64_t at = problem.key_row(tile_.b, row, tile_.head);
        sums_.store(r, problem.scale, backward_.dk + at, problem.head_size);
        partner_sums_.store(r, problem.keep_scale, backward_.dv + at, problem.head_size);
      }
    }
  }

  const Backward<T>& backward_;
  const PlainGradShared<kChunks> shared_;
  const RowTile<kRows> tile_;
  const int first_row_;
  RowSums<kChunks> sums_;
  RowSums<kChunks> partner_sums_;  // of values
};

template <typename T, int kChunks, Rows kRows>
__global__ void __launch_bounds__(kPlainThreads) plain_grad(Backward<T> backward) {
  PlainGrad<T, kChunks, kRows>(backward).run();
}

template <typename T, int kChunks>
Prepared prepare(const Attention& problem) {
  const auto grid = [&](int rows, int heads) {
    const std::int64_t tiles = divide_up(rows, kPlainRows);
    return Grid{tiles * heads * problem.batch, 1, 1, kPlainThreads,
                PlainGradShared<kChunks>::kBytes};
  };
  const Grid query_grid = grid(problem.queries, problem.heads);
  const Grid key_grid = grid(problem.keys, problem.key_heads);
  const FactLayout layout(problem);
  return make_kernel(
      [=](const KernelBuffers& buffers) {
        const Backward<T> backward = backward_of<T>(problem, layout, buffers);
        find_facts(backward, buffers.stream);
        launch(plain_grad<T, kChunks, Rows::keys>, key_grid, buffers.stream, backward);
        launch(plain_grad<T, kChunks, Rows::queries>, query_grid, buffers.stream, backward);
      },
      layout.bytes);
}

}  // namespace

Prepared plain_attention_grad(const AttentionProblem& problem) {
  return prepare_plain(problem, [&]<typename T, int kChunks>(const Attention& attention) {
    return prepare<T, kChunks>(attention);
  });
}

}  // namespace bessemer::kernels::cuda
