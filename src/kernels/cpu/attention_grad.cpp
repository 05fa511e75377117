// Attention backward: FlashAttention-2 (Dao, 2023) on fp32 tiles. The weights come back from lse;
// delta, the row sums of dO * O, stands for the softmax's own gradient. As in the forward kernel
// scores are transposed, keys by queries, so that lanes are queries.
//
// A sweep meets query tiles with key blocks and adds up dK and dV of its keys, or dQ of its
// queries, or both. With enough key heads to go round, a work item is one key head and its sweep
// yields all three. With fewer, runs of key blocks and runs of query tiles are items of two kinds
// and the scores are made twice. Either way each gradient is the same chain of additions, so the
// bits agree.

#include "kernels/cpu/cpu.h"

#include "kernels/attention_problem.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_grad.cpp"
#include "kernels/cpu/attention_dropout-inl.h"
#include "kernels/cpu/attention_tile-inl.h"

#ifndef BESSEMER_KERNELS_CPU_ATTENTION_GRAD_TYPES_
#define BESSEMER_KERNELS_CPU_ATTENTION_GRAD_TYPES_
namespace bessemer::kernels::cpu {

struct AttentionBackward {
  AttentionProblem problem;
  const void *d_o, *q, *k, *v, *o;
  const float* lse;
  const std::int32_t* visibility;  // may be null
  std::optional<AttentionDropout> dropout;
  void *dq, *dk, *dv;
};

enum class Sweep { queries, keys, both };  // whose gradients it yields

/// Query tiles [first_tile, last_tile) of every query head of key head `key_head`, against keys
/// [first_key, last_key), which start at a block.
struct BackwardItem {
  Sweep sweep;
  std::int64_t sequence, key_head, first_tile, last_tile, first_key, last_key;
};

/// One worker's scratch.
struct BackwardScratch {
  BackwardScratch(const AttentionProblem& problem, float* begin) : slice(begin) {
    const std::int64_t padded = problem.padded_head_size();
    for (float** p : {&keys, &values, &dk, &dv}) *p = slice.take(problem.keys * padded);
    for (float** p : {&q, &d_o, &q_columns, &d_o_columns, &dq}) {
      *p = slice.take(kQueryTile * padded);
    }
    for (float** p : {&weights, &d_scores}) *p = slice.take(kKeyBlock * kQueryTile);
    kept = slice.take(problem.dropout > 0 ? kKeyBlock * kQueryTile : 0);
    for (float** p : {&lse, &delta}) *p = slice.take(kQueryTile);
  }

  ScratchSlice slice;
  float *keys, *values, *dk, *dv;  // [keys][padded]
  float *q, *d_o, *dq;             // [kQueryTile][padded]
  float *q_columns, *d_o_columns;  // [padded][kQueryTile]; q times scale log2(e)
  float *weights, *d_scores;       // [kKeyBlock][kQueryTile]
  float* kept;                     // [kKeyBlock][kQueryTile]: the dropout of the weights
  float *lse, *delta;              // for each query; lse in units of log2
};

}  // namespace bessemer::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

/// The queries of one tile under one head.
struct QueryTile {
  const TileVisibility& visibility;
  std::int64_t sequence, head, first, count;
};

/// Packs q and dO both ways and makes lse and delta of the tile. `dq` holds o for the while.
void load_tile(const AttentionBackward& backward, const QueryTile& tile,
               const BackwardScratch& scratch) {
  const AttentionProblem& problem = backward.problem;
  const std::int64_t padded = problem.padded_head_size(), size = problem.head_size;
  const std::int64_t offset = problem.query_row(tile.sequence, tile.first, tile.head);
  const std::int64_t strips = tile.visibility.strips, rows = strips * kStrip;
  const auto pack = [&](const void* in, float* out) {
    pack_rows(problem.dtype, in, offset, problem.heads * size, tile.count, size, padded, out);
    std::fill(out + tile.count * padded, out + rows * padded, 0.0f);
  };
  constexpr float kLog2e = 1.44269504f;
  pack(backward.q, scratch.q);
  pack(backward.d_o, scratch.d_o);
  pack(backward.o, scratch.dq);
  transpose(scratch.q, strips, padded, problem.scale * kLog2e, scratch.q_columns);
  transpose(scratch.d_o, strips, padded, 1.0f, scratch.d_o_columns);
  const float* lse =
      backward.lse + (tile.sequence * problem.heads + tile.head) * problem.queries + tile.first;
  const Floats d;
  for (std::int64_t i = 0; i < rows; ++i) {
    Vector sum = hn::Zero(d);
    for (std::int64_t j = i * padded; j < (i + 1) * padded; j += kLanes) {
      sum = hn::MulAdd(hn::Load(d, scratch.d_o + j), hn::Load(d, scratch.dq + j), sum);
    }
    scratch.delta[i] = hn::GetLane(hn::SumOfLanes(d, sum));
    scratch.lse[i] = i < tile.count ? lse[i] * kLog2e : 0.0f;
  }
}

enum class Dropout { none, some };

/// weights = 2^(score - lse) where seen, else 0; d_scores = weights * (kept d_scores - delta); then
/// weights *= kept.
template <bool kMasked, Dropout kDropout>
HWY_INLINE void weigh(const TileVisibility& tile, std::int64_t i, std::int64_t first_key,
                      TileVisibility::Range keys, const BackwardScratch& scratch) {
  const Floats d;
  const Vector lse = hn::Load(d, scratch.lse + i);
  const Vector delta = hn::Load(d, scratch.delta + i);
  for (std::int64_t s = keys.begin; s < keys.end; ++s) {
    float* weights = scratch.weights + s * kQueryTile + i;
    float* d_scores = scratch.d_scores + s * kQueryTile + i;
    Vector weight = exp2(hn::Sub(hn::Load(d, weights), lse));
    Vector d_weight = hn::Load(d, d_scores);
    Vector kept_weight = weight;
    if constexpr (kDropout == Dropout::some) {
      const Vector kept = hn::Load(d, scratch.kept + s * kQueryTile + i);
      d_weight = hn::Mul(d_weight, kept);
      kept_weight = hn::Mul(weight, kept);
    }
    Vector d_score = hn::Mul(weight, hn::Sub(d_weight, delta));
    if constexpr (kMasked) {
      const auto seen = sees(tile, i, first_key + s);
      kept_weight = hn::IfThenElseZero(seen, kept_weight);
      d_score = hn::IfThenElseZero(seen, d_score);
    }
    hn::Store(kept_weight, d, weights);
    hn::Store(d_score, d, d_scores);
  }
}

/// As above, for all queries of the tile and the `count` keys from `first_key`.
template <Dropout kDropout>
void weigh_block(const TileVisibility& tile, std::int64_t first_key, std::int64_t count,
                 const BackwardScratch& scratch) {
  const Floats d;
  const bool all = tile.sees_all(first_key, first_key + count);
  for (std::int64_t i = 0; i < tile.strips * kStrip; i += kLanes) {
    if (all) {
      weigh<false, kDropout>(tile, i, first_key, {0, count}, scratch);
      continue;
    }
    const auto keys = tile.keys_seen_by_strip(i / kStrip, first_key, count);
    weigh<true, kDropout>(tile, i, first_key, keys, scratch);
    for (std::int64_t s = 0; s < count; ++s) {
      if (s >= keys.begin && s < keys.end) continue;
      hn::Store(hn::Zero(d), d, scratch.weights + s * kQueryTile + i);
      hn::Store(hn::Zero(d), d, scratch.d_scores + s * kQueryTile + i);
    }
  }
}

/// One query tile against one key block.
void backward_block(const AttentionBackward& backward, Sweep sweep, const QueryTile& tile,
                    std::int64_t s, const BackwardScratch& scratch) {
  const AttentionProblem& problem = backward.problem;
  const TileVisibility& visibility = tile.visibility;
  const std::int64_t count = std::min(kKeyBlock, problem.keys - s);
  const std::int64_t padded = problem.padded_head_size(), at = s * padded;
  multiply_scores(visibility, s, count, problem.head_size, {scratch.keys + at, padded},
                  scratch.q_columns, scratch.weights);
  multiply_scores(visibility, s, count, problem.head_size, {scratch.values + at, padded},
                  scratch.d_o_columns, scratch.d_scores);
  if (backward.dropout) {
    fill_kept(*backward.dropout,
              dropout_tile(problem, tile.sequence, tile.head, tile.first, tile.count, s, count),
              scratch.kept);
    weigh_block<Dropout::some>(visibility, s, count, scratch);
  } else {
    weigh_block<Dropout::none>(visibility, s, count, scratch);
  }
  if (sweep != Sweep::queries) {
    accumulate_keys(visibility, s, count, tile.count, scratch.weights, {scratch.d_o, padded},
                    padded, {scratch.dv + at, padded});
    accumulate_keys(visibility, s, count, tile.count, scratch.d_scores, {scratch.q, padded}, padded,
                    {scratch.dk + at, padded});
  }
  if (sweep != Sweep::keys) {
    accumulate_queries(visibility, s, count, tile.count, scratch.d_scores,
                       {scratch.keys + at, padded}, padded, {scratch.dq, padded});
  }
}

void backward_tile(const AttentionBackward& backward, const BackwardItem& item,
                   const QueryTile& tile, const BackwardScratch& scratch) {
  const AttentionProblem& problem = backward.problem;
  const std::int64_t padded = problem.padded_head_size();
  const std::int64_t low = std::max<std::int64_t>(item.first_key, tile.visibility.any_low);
  const std::int64_t high = std::min<std::int64_t>(item.last_key, tile.visibility.any_high);
  if (low < high) load_tile(backward, tile, scratch);
  std::fill_n(scratch.dq, tile.count * padded, 0.0f);
  for (std::int64_t s = low / kKeyBlock * kKeyBlock; s < high; s += kKeyBlock) {
    backward_block(backward, item.sweep, tile, s, scratch);
  }
  if (item.sweep == Sweep::keys) return;
  unpack_rows(scratch.dq, padded, tile.count, problem.head_size, nullptr, problem.scale,
              problem.dtype, backward.dq, problem.query_row(tile.sequence, tile.first, tile.head),
              problem.heads * problem.head_size);
}

void backward_item(const AttentionBackward& backward, const BackwardItem& item,
                   float* scratch_begin) {
  const AttentionProblem& problem = backward.problem;
  const BackwardScratch scratch(problem, scratch_begin);
  const std::int64_t padded = problem.padded_head_size(), at = item.first_key * padded;
  const std::int64_t keys = item.last_key - item.first_key;
  const std::int64_t offset = problem.key_row(item.sequence, item.first_key, item.key_head);
  const std::int64_t stride = problem.key_heads * problem.head_size;
  pack_rows(problem.dtype, backward.k, offset, stride, keys, problem.head_size, padded,
            scratch.keys + at);
  pack_rows(problem.dtype, backward.v, offset, stride, keys, problem.head_size, padded,
            scratch.values + at);
  std::fill_n(scratch.dk + at, keys * padded, 0.0f);
  std::fill_n(scratch.dv + at, keys * padded, 0.0f);
  for (std::int64_t t = item.first_tile; t < item.last_tile; ++t) {
    const std::int64_t first = t * kQueryTile;
    const std::int64_t count = std::min(kQueryTile, problem.queries - first);
    const auto visibility = see_keys(problem, backward.visibility, item.sequence, first, count);
    for (std::int64_t g = 0; g < problem.heads_per_key_head(); ++g) {
      const std::int64_t h = item.key_head * problem.heads_per_key_head() + g;
      backward_tile(backward, item, {visibility, item.sequence, h, first, count}, scratch);
    }
  }
  if (item.sweep == Sweep::queries) return;
  unpack_rows(scratch.dk + at, padded, keys, problem.head_size, nullptr, problem.scale,
              problem.dtype, backward.dk, offset, stride);
  unpack_rows(scratch.dv + at, padded, keys, problem.head_size, nullptr, 1.0f, problem.dtype,
              backward.dv, offset, stride);
}

}  // namespace
}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
namespace {

HWY_EXPORT(backward_item);

/// The division of the work: for each key head one item, or `key_runs` + `query_runs`.
struct Division {
  std::int64_t key_runs = 0, query_runs = 0;
  std::int64_t items_per_head() const { return std::max<std::int64_t>(1, key_runs + query_runs); }
};

Division divide(const AttentionProblem& problem) {
  const std::int64_t heads = std::max<std::int64_t>(1, problem.batch * problem.key_heads);
  if (problem.workers == 1 || heads >= 2 * problem.workers) return {};
  constexpr std::int64_t kItemsPerWorker = 4;
  const std::int64_t runs = divide_up(kItemsPerWorker * problem.workers, heads);
  const std::int64_t blocks = divide_up(problem.keys, kKeyBlock);
  return {std::min(runs, std::max<std::int64_t>(1, blocks)),
          std::min(runs, std::max<std::int64_t>(1, problem.query_tiles()))};
}

/// Item `part` of key head `head`.
BackwardItem item_of(const AttentionProblem& problem, const Division& division, std::int64_t head,
                     std::int64_t part) {
  const std::int64_t tiles = problem.query_tiles(), keys = problem.keys;
  BackwardItem item{Sweep::both, head / problem.key_heads, head % problem.key_heads, 0, tiles, 0,
                    keys};
  if (division.key_runs == 0) return item;
  if (part < division.key_runs) {
    const std::int64_t blocks = divide_up(keys, kKeyBlock);
    item.sweep = Sweep::keys;
    item.first_key = blocks * part / division.key_runs * kKeyBlock;
    item.last_key = std::min(keys, blocks * (part + 1) / division.key_runs * kKeyBlock);
  } else {
    // From the last run to the first: under a causal mask the last is the longest.
    const std::int64_t run = division.items_per_head() - 1 - part;
    item.sweep = Sweep::queries;
    item.first_tile = tiles * run / division.query_runs;
    item.last_tile = tiles * (run + 1) / division.query_runs;
  }
  return item;
}

void run_backward(const AttentionBackward& backward, float* scratch, std::int64_t slice_floats) {
  const AttentionProblem& problem = backward.problem;
  const Division division = divide(problem);
  const std::int64_t heads = problem.batch * problem.key_heads;
  for_each_item(problem.workers, heads * division.items_per_head(),
                [&](std::int64_t i, std::int64_t worker) {
                  const BackwardItem item = item_of(problem, division, i % heads, i / heads);
                  HWY_DYNAMIC_DISPATCH(backward_item)
                  (backward, item, scratch + worker * slice_floats);
                });
}

}  // namespace

Prepared attention_grad(const KernelRequest& request) {
  auto read = read_attention(request, 1, 2, 6);
  if (auto* declined = std::get_if<Declined>(&read)) return *declined;
  const AttentionProblem problem = std::get<AttentionProblem>(read);
  const std::int64_t slice_floats = BackwardScratch(problem, nullptr).slice.used();
  return make_kernel(
      [problem, slice_floats](const KernelBuffers& buffers) {
        const AttentionBackward backward{problem,
                                         buffers.operand<void>(0),
                                         buffers.operand<void>(1),
                                         buffers.operand<void>(2),
                                         buffers.operand<void>(3),
                                         buffers.operand<void>(4),
                                         buffers.operand<float>(5),
                                         buffers.operand<std::int32_t>(6),
                                         read_dropout(problem, buffers.operand<std::int64_t>(7)),
                                         buffers.result<void>(0),
                                         buffers.result<void>(1),
                                         buffers.result<void>(2)};
        run_backward(backward, static_cast<float*>(buffers.scratch), slice_floats);
      },
      static_cast<std::size_t>(slice_floats * problem.workers) * sizeof(float));
}

}  // namespace bessemer::kernels::cpu
#endif
