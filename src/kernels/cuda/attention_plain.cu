// Attention forward without the tensor cores. A block has 16 queries of one head, each warp four;
// keys come 32 at a time, one for each lane, and the softmax is online. Bound by shared memory,
// which feeds each four products with two loads of 16 bytes: it is here for fp32 recipes and odd
// shapes, not for speed.
#include "kernels/cuda/attention_plain.cuh"

#include "kernels/cuda/attention_plain.h"

namespace bessemer::kernels::cuda {
namespace {

template <typename T>
struct PlainForward {
  Attention problem;
  const T *q, *k, *v;
  T* o;
  float* lse;
};

template <int kChunks>
struct PlainShared {
  using Rows = FloatTile<kChunks>;
  __device__ explicit PlainShared(float* floats)
      : queries{floats},
        keys{queries.row(kPlainRows)},
        values{keys.row(kWarp)},
        weights(values.row(kWarp)) {}
  static constexpr std::size_t kBytes =
      sizeof(float) * (Rows::floats(kPlainRows + 2 * kWarp) + kPlainRows * kWarp);

  Rows queries, keys, values;
  float* weights;  // [kPlainRows][kWarp]
};

/// The running softmax of a warp's rows.
struct PlainSoftmax {
  float top[kWarpRows] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
  float sum[kWarpRows] = {};

  /// The weight of this lane's key under row r; what was summed before is scaled down.
  template <int kChunks>
  __device__ float weigh(int r, float score, RowSums<kChunks>& output) {
    const float largest = std::fmax(top[r], warp_max(score));
    const float base = largest == -INFINITY ? 0.0f : largest;
    const float factor = std::exp(top[r] - base);
    const float weight = std::exp(score - base);
    top[r] = largest;
    sum[r] = sum[r] * factor + warp_sum(weight);
#pragma unroll
    for (int j = 0; j < kChunks; ++j) output.at[r][j] *= factor;
    return weight;
  }
};

template <typename T, int kChunks>
__global__ void __launch_bounds__(kPlainThreads) plain_forward(PlainForward<T> forward) {
  const Attention& problem = forward.problem;
  const PlainShared<kChunks> shared(shared_memory<float>());
  const int tiles = (problem.queries + kPlainRows - 1) / kPlainRows;
  const int head_of_all = static_cast<int>(blockIdx.x) / tiles;
  const int b = head_of_all / problem.heads, head = head_of_all % problem.heads;
  const int key_head = head / problem.heads_per_key_head();
  const int first = static_cast<int>(blockIdx.x) % tiles * kPlainRows;
  const int first_row = static_cast<int>(threadIdx.x) / kWarp * kWarpRows;
  float* weights = shared.weights + first_row * kWarp;
  shared.queries.template load<kPlainRows>(forward.q + problem.query_row(b, first, head),
                                           problem.query_stride(), problem.queries - first,
                                           problem.head_size);

  const int own = first + lane() % kPlainRows;  // the tile's queries, twice
  const Sight sight = sight_of_warp(sight_of(problem, keys_seen(problem, b, own), true));
  Interval seen[kWarpRows];
#pragma unroll
  for (int r = 0; r < kWarpRows; ++r) seen[r] = keys_seen(problem, b, first + first_row + r);
  PlainSoftmax softmax;
  RowSums<kChunks> output;
  for (int key = sight.any.low / kWarp * kWarp; key < sight.any.high; key += kWarp) {
    const std::int64_t row = problem.key_row(b, key, key_head);
    sync_block();  // the tile before has been read
    shared.keys.template load<kWarp>(forward.k + row, problem.key_stride(), problem.keys - key,
                                     problem.head_size);
    shared.values.template load<kWarp>(forward.v + row, problem.key_stride(), problem.keys - key,
                                       problem.head_size);
    sync_block();
    float scores[kWarpRows];
    dot_rows(scores, shared.queries, first_row, shared.keys);
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
      const float score = seen[r].has(key + lane()) ? scores[r] * problem.scale : -INFINITY;
      const float weight = softmax.weigh(r, score, output);
      const std::uint64_t index =
          attention_dropout_index(b, head, first + first_row + r, key + lane(), problem.heads,
                                  problem.queries, problem.keys);
      const bool kept = problem.counter == nullptr || Dropout(problem).keeps(index);
      weights[r * kWarp + lane()] = kept ? weight : 0.0f;
    }
    sync_warp();
    output.add(weights, shared.values);
    sync_warp();  // the weights have been read
  }
#pragma unroll
  for (int r = 0; r < kWarpRows; ++r) {
    const int query = first + first_row + r;
    if (query >= problem.queries) break;
    const float sum = softmax.sum[r];
    output.store(r, sum == 0 ? 0.0f : problem.keep_scale / sum,
                 forward.o + problem.query_row(b, query, head), problem.head_size);
    if (lane() == 0) {
      forward.lse[problem.statistic(b, head, query)] = softmax.top[r] + std::log(sum);
    }
  }
}

template <typename T, int kChunks>
Prepared prepare(const Attention& problem) {
  const std::int64_t tiles = divide_up(problem.queries, kPlainRows);
  const Grid grid{tiles * problem.heads * problem.batch, 1, 1, kPlainThreads,
                  PlainShared<kChunks>::kBytes};
  return make_kernel([problem, grid](const KernelBuffers& buffers) {
    const PlainForward<T> forward{with_buffers(problem, buffers, 3),
                                  buffers.operand<T>(0),
                                  buffers.operand<T>(1),
                                  buffers.operand<T>(2),
                                  buffers.result<T>(0),
                                  buffers.result<float>(1)};
    launch(plain_forward<T, kChunks>, grid, buffers.stream, forward);
  });
}

}  // namespace

Prepared plain_attention(const AttentionProblem& problem) {
  return prepare_plain(problem, [&]<typename T, int kChunks>(const Attention& attention) {
    return prepare<T, kChunks>(attention);
  });
}

}  // namespace bessemer::kernels::cuda
