// Attention backward: FlashAttention-2 (Dao, 2023), without its atomic sums. One kernel keeps 64
// keys of one key head, with the gradients of keys and values, and meets the queries that see them;
// another keeps 128 queries, with theirs, and meets the keys. Both make the scores again, so there
// are seven products (14·D flops for each pair of query and key) where five would do, and in turn
// every sum has one owner and one order.
//
// Bound by the tensor cores, as the forward pass is, and by the shared memory that feeds them: a
// warp with 16 keys, all that registers hold, loads 256 bytes for a product of 16 x 8 x 16, one
// with 32 queries about 200; 128 bytes a cycle come, where 1.6 cycles are what a product takes.
// What a step needs next is on its way while the one before is computed.
#include "kernels/cuda/attention_grad.cuh"

#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/cuda.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kStages = 2;

// ---- the gradient of queries

constexpr int kKeyStep = 32;  // keys that a block of queries meets at a time

template <int kWidth>
struct QueryShared {
  __device__ explicit QueryShared(unsigned char* bytes)
      : queries{reinterpret_cast<BFloat16*>(bytes)},
        d_o{queries.row(kQueries)},
        keys{d_o.row(kQueries)},
        values{keys.row(kStages * kKeyStep)},
        statistics(reinterpret_cast<RowStatistic*>(values.row(kStages * kKeyStep))),
        seen(reinterpret_cast<Interval*>(statistics + kQueries)) {}
  static constexpr std::size_t kBytes = Tile<kWidth>::bytes(2 * kQueries + 2 * kStages * kKeyStep) +
                                        kQueries * (sizeof(RowStatistic) + sizeof(Interval));

  Tile<kWidth> queries, d_o;
  Tile<kWidth> keys, values;  // of all stages
  RowStatistic* statistics;
  Interval* seen;
};

using QueryPart = Part<kRowTiles, kKeyStep / 8>;

/// dS from scores and dP, in the scores' place; rows are queries, `statistics` theirs.
template <bool kDropout>
__device__ void differentiate_rows(QueryPart& scores, const QueryPart& dp,
                                   const RowStatistic* statistics, const Attention& problem,
                                   std::uint64_t first, int key) {
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
    const RowStatistic of_row[2] = {statistics[16 * m + part_row(0)],
                                    statistics[16 * m + part_row(2)]};
#pragma unroll
    for (int n = 0; n < kKeyStep / 8; ++n) {
      unsigned kept = 0;
      if constexpr (kDropout) {
        kept = kept_by_queries(Dropout(problem), first + std::uint64_t{16} * m * problem.keys,
                               key + 8 * n, problem.keys);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const RowStatistic& row = of_row[i / 2];
        float gradient = dp.at[m][n][i];
        if constexpr (kDropout)
          gradient = (kept >> i & 1u) != 0 ? gradient * problem.keep_scale : 0;
        const float p = exp2_approx(scores.at[m][n][i] * problem.log2_scale - row.base);
        scores.at[m][n][i] = p * (gradient - row.delta);
      }
    }
  }
}

template <int kWidth, bool kDropout>
__global__ void __launch_bounds__(kTileThreads) tiled_query_grad(Backward<BFloat16> backward) {
  const Attention& problem = backward.problem;
  const QueryShared<kWidth> shared(shared_memory<unsigned char>());
  const QueryTile tile(problem);
  const int thread = static_cast<int>(threadIdx.x);
  const int first_row = thread / kWarp * kWarpQueries, first_query = tile.first + first_row;
  const auto copy_keys = [&](int stage, int first) {
    const std::int64_t row = problem.key_row(tile.b, first, tile.key_head);
    copy_tile<kKeyStep>(shared.keys.from(stage * kKeyStep), backward.k + row, problem.key_stride(),
                        problem.keys - first, problem.head_size);
    copy_tile<kKeyStep>(shared.values.from(stage * kKeyStep), backward.v + row,
                        problem.key_stride(), problem.keys - first, problem.head_size);
    commit_copies();
  };
  const std::int64_t row = problem.query_row(tile.b, tile.first, tile.head);
  copy_tile<kQueries>(shared.queries, backward.q + row, problem.query_stride(),
                      problem.queries - tile.first, problem.head_size);
  copy_tile<kQueries>(shared.d_o, backward.d_o + row, problem.query_stride(),
                      problem.queries - tile.first, problem.head_size);
  commit_copies();
  const QueryFacts& facts = backward.facts;
  const Interval own = facts.seen[facts.query(tile.b, tile.first + thread)];
  const Sight sight = sight_of_warp(sight_of(problem, own, tile.first + thread < problem.queries));
  shared.seen[thread] = own;
  shared.statistics[thread] =
      facts.statistics[facts.statistic(tile.b, tile.head, tile.first + thread, problem.heads)];
  const Interval of_block = union_of_block(sight.any);

  Part<kRowTiles, kWidth / 8> dq;
  int key = of_block.low / kKeyStep * kKeyStep, stage = 0;
  if (key < of_block.high) copy_keys(0, key);
  for (; key < of_block.high; key += kKeyStep, stage = 1 - stage) {
    wait_copies<0>();
    sync_block();  // this stage is there, and the other has been read
    if (key + kKeyStep < of_block.high) copy_keys(1 - stage, key + kKeyStep);
    if (!sight.sees_any(key, key + kKeyStep)) continue;
    const Tile<kWidth> keys = shared.keys.from(stage * kKeyStep);
    QueryPart scores =
        rows_times_rows<kRowTiles, kKeyStep / 8>(shared.queries.from(first_row), keys);
    if (!sight.sees_all(key, key + kKeyStep)) hide(scores, shared.seen + first_row, key);
    const QueryPart dp = rows_times_rows<kRowTiles, kKeyStep / 8>(
        shared.d_o.from(first_row), shared.values.from(stage * kKeyStep));
    const std::uint64_t first = attention_dropout_index(
        tile.b, tile.head, first_query, 0, problem.heads, problem.queries, problem.keys);
    differentiate_rows<kDropout>(scores, dp, shared.statistics + first_row, problem, first, key);
    add_product(dq, scores, keys);
  }
  wait_copies<0>();
  sync_block();  // the queries are there, where they see nothing
  scale_part(dq, problem.scale);
  store_part(dq, shared.queries.from(first_row),
             backward.dq + problem.query_row(tile.b, first_query, tile.head),
             problem.query_stride(), problem.queries - first_query, problem.head_size);
}

// ---- the gradients of keys and values

constexpr int kQueryStep = kFactTile;  // queries that a block of keys meets at a time
constexpr int kKeyRows = 16 * kTileWarps;

template <int kWidth>
struct KeyShared {
  __device__ explicit KeyShared(unsigned char* bytes)
      : keys{reinterpret_cast<BFloat16*>(bytes)},
        values{keys.row(kKeyRows)},
        queries{values.row(kKeyRows)},
        d_o{queries.row(kStages * kQueryStep)},
        statistics(reinterpret_cast<RowStatistic*>(d_o.row(kStages * kQueryStep))),
        seen(reinterpret_cast<Interval*>(statistics + kStages * kQueryStep)) {}
  static constexpr std::size_t kBytes =
      Tile<kWidth>::bytes(2 * kKeyRows + 2 * kStages * kQueryStep) +
      kStages * kQueryStep * (sizeof(RowStatistic) + sizeof(Interval));

  Tile<kWidth> keys, values;
  Tile<kWidth> queries, d_o;  // these and below of all stages
  RowStatistic* statistics;
  Interval* seen;
};

/// Which keys of which key head a block has. Under a causal mask the first keys are seen by most.
struct KeyTile {
  __device__ explicit KeyTile(const Attention& problem) {
    const int tiles = (problem.keys + kKeyRows - 1) / kKeyRows;
    const int head_of_all = static_cast<int>(blockIdx.x) / tiles;
    first = static_cast<int>(blockIdx.x) % tiles * kKeyRows;
    b = head_of_all / problem.key_heads;
    key_head = head_of_all % problem.key_heads;
  }
  int b, key_head, first;
};

/// The steps of a block of keys: for each head of the group, the tiles of queries that see any of
/// its keys, in order.
class QuerySteps {
 public:
  __device__ QuerySteps(const Backward<BFloat16>& backward, const KeyTile& tile)
      : sight_(backward.facts.sight + std::int64_t{tile.b} * tiles_of(backward.facts)),
        first_key_(tile.first) {
    // What lies outside the first and the last that see is not looked at again.
    const int tiles = tiles_of(backward.facts);
    int lowest = tiles, highest = -1;
    for (int i = static_cast<int>(threadIdx.x); i < tiles; i += kTileThreads) {
      if (!sees(i)) continue;
      lowest = std::min(lowest, i);
      highest = i;
    }
    first_ = -block_max(-lowest, -tiles);
    end_ = block_max(highest, -1) + 1;
    head_ = tile.key_head * backward.problem.heads_per_key_head();
    end_head_ = head_ + (first_ < end_ ? backward.problem.heads_per_key_head() : 0);
    tile_ = first_;
  }

  __device__ bool done() const { return head_ == end_head_; }
  __device__ int head() const { return head_; }
  __device__ int query() const { return tile_ * kQueryStep; }
  __device__ Sight sight() const { return sight_[tile_]; }
  __device__ void next() {
    do {
      ++tile_;
      if (tile_ == end_) tile_ = first_, ++head_;
    } while (!done() && !sees(tile_));
  }

 private:
  __device__ static int tiles_of(const QueryFacts& facts) { return facts.padded / kFactTile; }
  __device__ bool sees(int tile) const {
    return sight_[tile].sees_any(first_key_, first_key_ + kKeyRows);
  }

  const Sight* sight_;
  int first_key_, first_, end_, tile_, head_, end_head_;
};

using KeyPart = Part<1, kQueryStep / 8>;

/// P M (but for its scale) and dS from scores and dP, in their places; columns are queries.
template <bool kDropout>
__device__ void differentiate_columns(KeyPart& scores, KeyPart& dp, const RowStatistic* statistics,
                                      const Interval* seen, bool all_seen, const Attention& problem,
                                      std::uint64_t first, int key) {
#pragma unroll
  for (int n = 0; n < kQueryStep / 8; ++n) {
    unsigned kept = 0;
    if constexpr (kDropout) {
      kept =
          kept_by_keys(Dropout(problem), first + std::uint64_t{8} * n * problem.keys, problem.keys);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = 8 * n + part_column(i);
      const RowStatistic query = statistics[column];
      float& score = scores.at[0][n][i];
      float& gradient = dp.at[0][n][i];
      float p = exp2_approx(score * problem.log2_scale - query.base);
      if (!all_seen && !seen[column].has(key + part_row(i))) p = 0;
      score = p;
      if constexpr (kDropout) {
        const bool keeps = (kept >> i & 1u) != 0;
        gradient = keeps ? gradient * problem.keep_scale : 0;
        score = keeps ? p : 0;
      }
      gradient = p * (gradient - query.delta);
    }
  }
}

template <int kWidth>
__device__ void copy_queries(const KeyShared<kWidth>& shared, int stage,
                             const Backward<BFloat16>& backward, int b, const QuerySteps& step) {
  const Attention& problem = backward.problem;
  const QueryFacts& facts = backward.facts;
  const int thread = static_cast<int>(threadIdx.x), at = stage * kQueryStep, query = step.query();
  const std::int64_t row = problem.query_row(b, query, step.head());
  copy_tile<kQueryStep>(shared.queries.from(at), backward.q + row, problem.query_stride(),
                        problem.queries - query, problem.head_size);
  copy_tile<kQueryStep>(shared.d_o.from(at), backward.d_o + row, problem.query_stride(),
                        problem.queries - query, problem.head_size);
  static_assert(kQueryStep / 2 == kWarp && sizeof(RowStatistic) == 8 && sizeof(Interval) == 8);
  if (thread < kWarp) {
    copy_async(
        shared.statistics + at + 2 * thread,
        facts.statistics + facts.statistic(b, step.head(), query + 2 * thread, problem.heads),
        true);
  } else if (thread < 2 * kWarp) {
    copy_async(shared.seen + at + 2 * lane(), facts.seen + facts.query(b, query + 2 * lane()),
               true);
  }
  commit_copies();
}

template <int kWidth, bool kDropout>
__global__ void __launch_bounds__(kTileThreads) tiled_key_grad(Backward<BFloat16> backward) {
  const Attention& problem = backward.problem;
  const KeyShared<kWidth> shared(shared_memory<unsigned char>());
  const KeyTile tile(problem);
  const int first_row = static_cast<int>(threadIdx.x) / kWarp * 16;
  const int first_key = tile.first + first_row;
  const std::int64_t row = problem.key_row(tile.b, tile.first, tile.key_head);
  copy_tile<kKeyRows>(shared.keys, backward.k + row, problem.key_stride(),
                      problem.keys - tile.first, problem.head_size);
  copy_tile<kKeyRows>(shared.values, backward.v + row, problem.key_stride(),
                      problem.keys - tile.first, problem.head_size);
  commit_copies();

  Part<1, kWidth / 8> dk, dv;
  QuerySteps step(backward, tile);
  if (!step.done()) copy_queries(shared, 0, backward, tile.b, step);
  for (int stage = 0; !step.done(); stage = 1 - stage) {
    const Sight sight = step.sight();
    const bool sees = sight.sees_any(first_key, first_key + 16);
    const bool sees_all = sight.sees_all(first_key, first_key + 16);
    const std::uint64_t first = attention_dropout_index(
        tile.b, step.head(), step.query(), first_key, problem.heads, problem.queries, problem.keys);
    wait_copies<0>();
    sync_block();  // this stage is there, and the other has been read
    step.next();
    if (!step.done()) copy_queries(shared, 1 - stage, backward, tile.b, step);
    if (!sees) continue;
    const int at = stage * kQueryStep;
    const Tile<kWidth> queries = shared.queries.from(at), d_o = shared.d_o.from(at);
    KeyPart scores = rows_times_rows<1, kQueryStep / 8>(shared.keys.from(first_row), queries);
    KeyPart dp = rows_times_rows<1, kQueryStep / 8>(shared.values.from(first_row), d_o);
    differentiate_columns<kDropout>(scores, dp, shared.statistics + at, shared.seen + at, sees_all,
                                    problem, first, first_key);
    add_product(dv, scores, d_o);
    add_product(dk, dp, queries);
  }
  wait_copies<0>();
  sync_block();  // the keys are there, where nothing sees them
  scale_part(dk, problem.scale);
  scale_part(dv, problem.keep_scale);
  const std::int64_t own = problem.key_row(tile.b, first_key, tile.key_head);
  store_part(dk, shared.keys.from(first_row), backward.dk + own, problem.key_stride(),
             problem.keys - first_key, problem.head_size);
  store_part(dv, shared.values.from(first_row), backward.dv + own, problem.key_stride(),
             problem.keys - first_key, problem.head_size);
}

// ---- both

using BackwardKernel = void (*)(Backward<BFloat16>);

template <int kWidth>
Prepared prepare(const Attention& problem) {
  const bool drops = problem.drop_below > 0;
  const BackwardKernel query_grad =
      drops ? tiled_query_grad<kWidth, true> : tiled_query_grad<kWidth, false>;
  const BackwardKernel key_grad =
      drops ? tiled_key_grad<kWidth, true> : tiled_key_grad<kWidth, false>;
  const Grid query_grid{
      std::int64_t{divide_up(problem.queries, kQueries)} * problem.heads * problem.batch, 1, 1,
      kTileThreads, QueryShared<kWidth>::kBytes};
  const Grid key_grid{
      std::int64_t{divide_up(problem.keys, kKeyRows)} * problem.key_heads * problem.batch, 1, 1,
      kTileThreads, KeyShared<kWidth>::kBytes};
  const FactLayout layout(problem);
  return make_kernel(
      [=](const KernelBuffers& buffers) {
        const Backward<BFloat16> backward = backward_of<BFloat16>(problem, layout, buffers);
        find_facts(backward, buffers.stream);
        launch(key_grad, key_grid, buffers.stream, backward);
        launch(query_grad, query_grid, buffers.stream, backward);
      },
      layout.bytes);
}

}  // namespace

Prepared attention_grad(const KernelRequest& request) {
  const auto read = read_attention(request, 1, 2, 6);
  if (const auto* declined = std::get_if<Declined>(&read)) return *declined;
  const auto& problem = std::get<AttentionProblem>(read);
  if (!fits_tiles(problem)) return plain_attention_grad(problem);
  if (problem.head_size <= 64) return prepare<64>(without_buffers(problem));
  if (problem.head_size <= 96) return prepare<96>(without_buffers(problem));
  return prepare<128>(without_buffers(problem));
}

}  // namespace bessemer::kernels::cuda
