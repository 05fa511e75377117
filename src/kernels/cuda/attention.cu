// Attention forward: FlashAttention-2 (Dao, 2023). A block keeps 128 queries of one head and meets
// the keys they see 64 at a time; the softmax is online, so that the scores never leave registers.
//
// Bound by the tensor cores: 4·D flops for each pair of query and key (2·T·D a byte of K and V, for
// T queries of a block), far above what memory asks for. By mma.sync that is about 60% of what an
// H100 can do. A warp has 32 rows because each fragment of K and V that it loads from shared memory
// then serves two products: with 16 rows that loading, not the products, would set the pace. While
// keys are multiplied, their values are on their way, and while these are, the next keys.
#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/cuda.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kKeys = 64;

struct Forward {
  Attention problem;
  const BFloat16 *q, *k, *v;
  BFloat16* o;
  float* lse;
};

template <int kWidth>
struct ForwardShared {
  __device__ explicit ForwardShared(unsigned char* bytes)
      : queries{reinterpret_cast<BFloat16*>(bytes)},
        keys{queries.row(kQueries)},
        values{keys.row(kKeys)},
        seen(reinterpret_cast<Interval*>(values.row(kKeys))),
        sights(reinterpret_cast<Sight*>(seen + kQueries)) {}
  static constexpr std::size_t kBytes = Tile<kWidth>::bytes(kQueries + 2 * kKeys) +
                                        sizeof(Interval) * kQueries + sizeof(Sight) * kTileWarps;

  Tile<kWidth> queries, keys, values;
  Interval* seen;  // by each query
  Sight* sights;   // of each warp
};

/// The running softmax of a warp's rows: of each lane's four.
struct Softmax {
  float top[kRowTiles][2];  // largest score
  float sum[kRowTiles][2];  // of weights, over this lane's columns

  __device__ Softmax() {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      top[m][0] = top[m][1] = -INFINITY;
      sum[m][0] = sum[m][1] = 0;
    }
  }

  /// Scores become weights 2^((score - top)·scale); what was made with an older top is scaled down.
  template <int kN>
  __device__ void weigh(Part<kRowTiles, kKeys / 8>& scores, float scale,
                        Part<kRowTiles, kN>& output) {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float largest = top[m][half];
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
          largest = std::fmax(largest,
                              std::fmax(scores.at[m][n][2 * half], scores.at[m][n][2 * half + 1]));
        }
        largest = std::fmax(largest, shuffle_xor(largest, 1));
        largest = std::fmax(largest, shuffle_xor(largest, 2));
        const float base = largest == -INFINITY ? 0.0f : largest * scale;
        const float factor = exp2_approx(top[m][half] * scale - base);
        top[m][half] = largest;
        sum[m][half] *= factor;
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i) {
            float& weight = scores.at[m][n][i];
            weight = exp2_approx(weight * scale - base);
            sum[m][half] += weight;
          }
        }
#pragma unroll
        for (int n = 0; n < kN; ++n) {
          output.at[m][n][2 * half] *= factor;
          output.at[m][n][2 * half + 1] *= factor;
        }
      }
    }
  }
};

/// Weights that dropout does not keep become 0.
__device__ void drop(Part<kRowTiles, kKeys / 8>& weights, const Dropout& dropout,
                     std::uint64_t first, int first_key, int keys) {
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
    const std::uint64_t row = first + std::uint64_t{16} * m * keys;
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
      const unsigned kept = kept_by_queries(dropout, row, first_key + 8 * n, keys);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if ((kept >> i & 1u) == 0) weights.at[m][n][i] = 0;
      }
    }
  }
}

/// Divides the output by the sums and writes both.
template <int kWidth>
__device__ void finish(const Forward& forward, const QueryTile& tile, int first_query,
                       Softmax& softmax, Part<kRowTiles, kWidth / 8>& output,
                       const Tile<kWidth>& through) {
  const Attention& problem = forward.problem;
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = softmax.sum[m][half];
      sum += shuffle_xor(sum, 1);
      sum += shuffle_xor(sum, 2);
      const float factor = sum == 0 ? 0.0f : problem.keep_scale / sum;
#pragma unroll
      for (int n = 0; n < kWidth / 8; ++n) {
        output.at[m][n][2 * half] *= factor;
        output.at[m][n][2 * half + 1] *= factor;
      }
      const int query = first_query + 16 * m + part_row(2 * half);
      if (lane() % 4 == 0 && query < problem.queries) {
        forward.lse[problem.statistic(tile.b, tile.head, query)] =
            softmax.top[m][half] * problem.scale + std::log(sum);
      }
    }
  }
  store_part(output, through, forward.o + problem.query_row(tile.b, first_query, tile.head),
             problem.query_stride(), problem.queries - first_query, problem.head_size);
}

template <int kWidth, bool kDropout>
__global__ void __launch_bounds__(kTileThreads) tiled_forward(Forward forward) {
  const Attention& problem = forward.problem;
  const ForwardShared<kWidth> shared(shared_memory<unsigned char>());
  const QueryTile tile(problem);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp;
  const auto copy_keys = [&](const Tile<kWidth>& to, const BFloat16* from, int first) {
    copy_tile<kKeys>(to, from + problem.key_row(tile.b, first, tile.key_head), problem.key_stride(),
                     problem.keys - first, problem.head_size);
    commit_copies();
  };
  copy_tile<kQueries>(shared.queries, forward.q + problem.query_row(tile.b, tile.first, tile.head),
                      problem.query_stride(), problem.queries - tile.first, problem.head_size);
  commit_copies();

  const Interval own = keys_seen(problem, tile.b, tile.first + thread);
  const Sight sight = sight_of_warp(sight_of(problem, own, tile.first + thread < problem.queries));
  shared.seen[thread] = own;
  shared.sights[warp] = sight;
  const Interval of_block = union_of_block(sight.any);
  const int first_row = warp * kWarpQueries, first_query = tile.first + first_row;
  Softmax softmax;
  Part<kRowTiles, kWidth / 8> output;
  int key = of_block.low / kKeys * kKeys;
  if (key < of_block.high) copy_keys(shared.keys, forward.k, key);
  for (; key < of_block.high; key += kKeys) {
    const bool sees = shared.sights[warp].sees_any(key, key + kKeys);
    wait_copies<0>();
    sync_block();  // the keys are there, and the values before them have been read
    copy_keys(shared.values, forward.v, key);
    Part<kRowTiles, kKeys / 8> scores;
    if (sees) {
      scores = rows_times_rows<kRowTiles, kKeys / 8>(shared.queries.from(first_row), shared.keys);
      if (!shared.sights[warp].sees_all(key, key + kKeys))
        hide(scores, shared.seen + first_row, key);
      softmax.weigh(scores, problem.log2_scale, output);
      if constexpr (kDropout) {
        const std::uint64_t first = attention_dropout_index(
            tile.b, tile.head, first_query, 0, problem.heads, problem.queries, problem.keys);
        drop(scores, Dropout(problem), first, key, problem.keys);
      }
    }
    wait_copies<0>();
    sync_block();  // the values are there, and the keys have been read
    if (key + kKeys < of_block.high) copy_keys(shared.keys, forward.k, key + kKeys);
    if (sees) add_product(output, scores, shared.values);
  }
  wait_copies<0>();
  sync_block();  // the queries are there, where they see nothing
  finish<kWidth>(forward, tile, first_query, softmax, output, shared.queries.from(first_row));
}

using ForwardKernel = void (*)(Forward);

template <int kWidth>
Prepared prepare(const Attention& problem) {
  const ForwardKernel kernel =
      problem.drop_below > 0 ? tiled_forward<kWidth, true> : tiled_forward<kWidth, false>;
  const std::int64_t tiles = divide_up(problem.queries, kQueries);
  const Grid grid{tiles * problem.heads * problem.batch, 1, 1, kTileThreads,
                  ForwardShared<kWidth>::kBytes};
  return make_kernel([problem, kernel, grid](const KernelBuffers& buffers) {
    const Forward forward{with_buffers(problem, buffers, 3), buffers.operand<BFloat16>(0),
                          buffers.operand<BFloat16>(1),      buffers.operand<BFloat16>(2),
                          buffers.result<BFloat16>(0),       buffers.result<float>(1)};
    launch(kernel, grid, buffers.stream, forward);
  });
}

}  // namespace

Prepared attention(const KernelRequest& request) {
  const auto read = read_attention(request, 0, 1, 3);
  if (const auto* declined = std::get_if<Declined>(&read)) return *declined;
  const auto& problem = std::get<AttentionProblem>(read);
  if (!fits_tiles(problem)) return plain_attention(problem);
  if (problem.head_size <= 64) return prepare<64>(without_buffers(problem));
  if (problem.head_size <= 96) return prepare<96>(without_buffers(problem));
  return prepare<128>(without_buffers(problem));
}

}  // namespace bessemer::kernels::cuda
