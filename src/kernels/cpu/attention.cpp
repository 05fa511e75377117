// Attention forward: FlashAttention-2 (Dao, 2023) on fp32 tiles. Scores are kept transposed, keys
// by queries, so that a vector lane is a query: the running maximum and sum need no work across
// lanes, and the weights are just as the product with V wants to read them.
//
// Work items are runs of query tiles of one key head, for all the query heads that share it; K and
// V are packed to fp32 once for each item.

#include "kernels/cpu/cpu.h"

#include <cmath>
#include <limits>

#include "kernels/attention_problem.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cpp"
#include "kernels/cpu/attention_dropout-inl.h"
#include "kernels/cpu/attention_tile-inl.h"

#ifndef BESSEMER_KERNELS_CPU_ATTENTION_TYPES_
#define BESSEMER_KERNELS_CPU_ATTENTION_TYPES_
namespace bessemer::kernels::cpu {

struct AttentionForward {
  AttentionProblem problem;
  const void *q, *k, *v;
  const std::int32_t* visibility;  // may be null
  std::optional<AttentionDropout> dropout;
  void* o;
  float* lse;
};

/// Query tiles [first, last) of every query head of key head `key_head`.
struct ForwardItem {
  std::int64_t sequence, key_head, first_tile, last_tile;
};

/// One worker's scratch.
struct ForwardScratch {
  ForwardScratch(const AttentionProblem& problem, float* begin) : slice(begin) {
    const std::int64_t padded = problem.padded_head_size();
    keys = slice.take(problem.keys * padded);
    values = slice.take(problem.keys * padded);
    rows = slice.take(kQueryTile * padded);
    query = slice.take(kQueryTile * padded);
    output = slice.take(kQueryTile * padded);
    scores = slice.take(kKeyBlock * kQueryTile);
    kept = slice.take(problem.dropout > 0 ? kKeyBlock * kQueryTile : 0);
    maximum = slice.take(kQueryTile);
    sum = slice.take(kQueryTile);
    factor = slice.take(kQueryTile);
  }

  ScratchSlice slice;
  float *keys, *values;  // [keys][padded]
  float* rows;           // [kQueryTile][padded]: q
  float* query;          // [padded][kQueryTile]: q transposed, times scale log2(e)
  float* output;         // [kQueryTile][padded]: not yet divided by `sum`
  float* scores;         // [kKeyBlock][kQueryTile], then the weights
  float* kept;           // [kKeyBlock][kQueryTile]: the dropout of the weights
  float *maximum, *sum;  // running, for each query; maximum in units of log2
  float* factor;         // what a new maximum multiplies the old output by
};

}  // namespace bessemer::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

// Stands for minus infinity where infinities would make NaN of their difference.
constexpr float kLowest = -1e30f;

/// The online softmax of one vector of queries: scores of keys [begin, end) of the block become
/// weights 2^(score - maximum); the running maximum and sum move on.
template <bool kMasked>
HWY_INLINE void weigh(const TileVisibility& tile, std::int64_t i, std::int64_t first_key,
                      TileVisibility::Range keys, const ForwardScratch& scratch) {
  const Floats d;
  float* scores = scratch.scores + i;
  const Vector before = hn::Load(d, scratch.maximum + i);
  Vector top0 = before, top1 = before;
  const auto visible_score = [&](std::int64_t s) HWY_ATTR {
    const Vector score = hn::Load(d, scores + s * kQueryTile);
    if constexpr (!kMasked) return score;
    return hn::IfThenElse(sees(tile, i, first_key + s), score, hn::Set(d, kLowest));
  };
  std::int64_t s = keys.begin;
  for (; s + 2 <= keys.end; s += 2) {
    top0 = hn::Max(top0, visible_score(s));
    top1 = hn::Max(top1, visible_score(s + 1));
  }
  if (s < keys.end) top0 = hn::Max(top0, visible_score(s));
  const Vector top = hn::Max(top0, top1);
  Vector sum = hn::Zero(d);
  for (s = keys.begin; s < keys.end; ++s) {
    Vector weight = exp2(hn::Sub(hn::Load(d, scores + s * kQueryTile), top));
    if constexpr (kMasked) weight = hn::IfThenElseZero(sees(tile, i, first_key + s), weight);
    sum = hn::Add(sum, weight);
    hn::Store(weight, d, scores + s * kQueryTile);
  }
  const Vector factor = exp2(hn::Sub(before, top));
  hn::Store(top, d, scratch.maximum + i);
  hn::Store(factor, d, scratch.factor + i);
  hn::Store(hn::MulAdd(hn::Load(d, scratch.sum + i), factor, sum), d, scratch.sum + i);
}

/// As above, for all queries of the tile; weights of unseen keys become 0.
void softmax_block(const TileVisibility& tile, std::int64_t first_key, std::int64_t count,
                   const ForwardScratch& scratch) {
  const Floats d;
  const bool all = tile.sees_all(first_key, first_key + count);
  for (std::int64_t i = 0; i < tile.strips * kStrip; i += kLanes) {
    if (all) {
      weigh<false>(tile, i, first_key, {0, count}, scratch);
      continue;
    }
    const auto keys = tile.keys_seen_by_strip(i / kStrip, first_key, count);
    weigh<true>(tile, i, first_key, keys, scratch);
    for (std::int64_t s = 0; s < count; ++s) {
      if (s >= keys.begin && s < keys.end) continue;
      hn::Store(hn::Zero(d), d, scratch.scores + s * kQueryTile + i);
    }
  }
}

/// Multiplies the weights of a block by their dropout. Sums have been taken before.
void drop_weights(const AttentionDropout& dropout, const DropoutTile& tile,
                  const ForwardScratch& scratch) {
  const Floats d;
  fill_kept(dropout, tile, scratch.kept);
  for (std::int64_t s = 0; s < tile.keys; ++s) {
    for (std::int64_t i = 0; i < round_up(tile.queries, kStrip); i += kLanes) {
      float* weights = scratch.scores + s * kQueryTile + i;
      const Vector kept = hn::Load(d, scratch.kept + s * kQueryTile + i);
      hn::Store(hn::Mul(hn::Load(d, weights), kept), d, weights);
    }
  }
}

/// Multiplies the rows of `output` by the factors, most of which are 1.
void rescale_output(std::int64_t queries, std::int64_t padded, const ForwardScratch& scratch) {
  const Floats d;
  for (std::int64_t i = 0; i < queries; ++i) {
    if (scratch.factor[i] == 1.0f) continue;
    const Vector factor = hn::Set(d, scratch.factor[i]);
    float* row = scratch.output + i * padded;
    for (std::int64_t j = 0; j < padded; j += kLanes) {
      hn::Store(hn::Mul(hn::Load(d, row + j), factor), d, row + j);
    }
  }
}

/// o and lse of one tile from the accumulated output.
void finish_tile(const AttentionForward& forward, std::int64_t b, std::int64_t h,
                 std::int64_t first, std::int64_t queries, const ForwardScratch& scratch) {
  const AttentionProblem& problem = forward.problem;
  float* lse = forward.lse + (b * problem.heads + h) * problem.queries + first;
  constexpr float kLn2 = 0.693147181f;
  for (std::int64_t i = 0; i < queries; ++i) {
    const float sum = scratch.sum[i];
    const bool blind = sum == 0.0f;
    scratch.factor[i] = blind ? 0.0f : 1.0f / sum;
    lse[i] =
        blind ? -std::numeric_limits<float>::infinity() : scratch.maximum[i] * kLn2 + std::log(sum);
  }
  unpack_rows(scratch.output, problem.padded_head_size(), queries, problem.head_size,
              scratch.factor, 0.0f, problem.dtype, forward.o, problem.query_row(b, first, h),
              problem.heads * problem.head_size);
}

void forward_tile(const AttentionForward& forward, const TileVisibility& tile, std::int64_t b,
                  std::int64_t h, std::int64_t first, std::int64_t queries,
                  const ForwardScratch& scratch) {
  const AttentionProblem& problem = forward.problem;
  const std::int64_t padded = problem.padded_head_size();
  constexpr float kLog2e = 1.44269504f;
  pack_rows(problem.dtype, forward.q, problem.query_row(b, first, h),
            problem.heads * problem.head_size, queries, problem.head_size, padded, scratch.rows);
  std::fill(scratch.rows + queries * padded, scratch.rows + tile.strips * kStrip * padded, 0.0f);
  transpose(scratch.rows, tile.strips, padded, problem.scale * kLog2e, scratch.query);
  std::fill_n(scratch.output, queries * padded, 0.0f);
  std::fill_n(scratch.maximum, kQueryTile, kLowest);
  std::fill_n(scratch.sum, kQueryTile, 0.0f);

  for (std::int64_t s = tile.any_low / kKeyBlock * kKeyBlock; s < tile.any_high; s += kKeyBlock) {
    const std::int64_t count = std::min(kKeyBlock, problem.keys - s);
    const float* values = scratch.values + s * padded;
    multiply_scores(tile, s, count, problem.head_size, {scratch.keys + s * padded, padded},
                    scratch.query, scratch.scores);
    softmax_block(tile, s, count, scratch);
    if (forward.dropout) {
      drop_weights(*forward.dropout, dropout_tile(problem, b, h, first, queries, s, count),
                   scratch);
    }
    rescale_output(queries, padded, scratch);
    accumulate_queries(tile, s, count, queries, scratch.scores, {values, padded}, padded,
                       {scratch.output, padded});
  }
  finish_tile(forward, b, h, first, queries, scratch);
}

/// Packs the blocks of K and V that the tile sees and that are not in `packed` yet; `packed` grows
/// to hold them, with what lies between.
void pack_seen(const AttentionForward& forward, const ForwardItem& item, const TileVisibility& tile,
               TileVisibility::Range& packed, const ForwardScratch& scratch) {
  const AttentionProblem& problem = forward.problem;
  const std::int64_t begin = tile.any_low / kKeyBlock * kKeyBlock;
  const std::int64_t end = std::min(round_up(tile.any_high, kKeyBlock), problem.keys);
  if (begin >= end) return;
  if (packed.begin == packed.end) packed = {begin, begin};
  const auto pack = [&](std::int64_t first, std::int64_t last) {
    const std::int64_t padded = problem.padded_head_size();
    const std::int64_t offset = problem.key_row(item.sequence, first, item.key_head);
    const std::int64_t stride = problem.key_heads * problem.head_size;
    pack_rows(problem.dtype, forward.k, offset, stride, last - first, problem.head_size, padded,
              scratch.keys + first * padded);
    pack_rows(problem.dtype, forward.v, offset, stride, last - first, problem.head_size, padded,
              scratch.values + first * padded);
  };
  if (begin < packed.begin) pack(begin, packed.begin);
  if (end > packed.end) pack(packed.end, end);
  packed = {std::min(begin, packed.begin), std::max(end, packed.end)};
}

void forward_item(const AttentionForward& forward, const ForwardItem& item, float* scratch_begin) {
  const AttentionProblem& problem = forward.problem;
  const ForwardScratch scratch(problem, scratch_begin);
  const std::int64_t b = item.sequence;
  TileVisibility::Range packed{problem.keys, problem.keys};
  for (std::int64_t t = item.first_tile; t < item.last_tile; ++t) {
    const std::int64_t first = t * kQueryTile;
    const std::int64_t queries = std::min(kQueryTile, problem.queries - first);
    const auto tile = see_keys(problem, forward.visibility, b, first, queries);
    pack_seen(forward, item, tile, packed, scratch);
    for (std::int64_t g = 0; g < problem.heads_per_key_head(); ++g) {
      const std::int64_t h = item.key_head * problem.heads_per_key_head() + g;
      forward_tile(forward, tile, b, h, first, queries, scratch);
    }
  }
}

}  // namespace
}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
namespace {

HWY_EXPORT(forward_item);

/// Runs of query tiles each head is cut into, so that the last items do not leave threads idle.
std::int64_t runs_per_head(const AttentionProblem& problem) {
  constexpr std::int64_t kItemsPerWorker = 4;
  const std::int64_t heads = std::max<std::int64_t>(1, problem.batch * problem.key_heads);
  const std::int64_t wanted = divide_up(kItemsPerWorker * problem.workers, heads);
  return std::min(wanted, problem.query_tiles());
}

void run_forward(const AttentionForward& forward, float* scratch, std::int64_t slice_floats) {
  const AttentionProblem& problem = forward.problem;
  const std::int64_t runs = runs_per_head(problem), tiles = problem.query_tiles();
  const std::int64_t heads = problem.batch * problem.key_heads;
  for_each_item(problem.workers, heads * runs, [&](std::int64_t i, std::int64_t worker) {
    const std::int64_t run = runs - 1 - i / heads;  // under a causal mask the last are the longest
    const std::int64_t head = i % heads;
    const ForwardItem item{head / problem.key_heads, head % problem.key_heads, tiles * run / runs,
                           tiles * (run + 1) / runs};
    HWY_DYNAMIC_DISPATCH(forward_item)(forward, item, scratch + worker * slice_floats);
  });
}

}  // namespace

Prepared attention(const KernelRequest& request) {
  auto read = read_attention(request, 0, 1, 3);
  if (auto* declined = std::get_if<Declined>(&read)) return *declined;
  const AttentionProblem problem = std::get<AttentionProblem>(read);
  const std::int64_t slice_floats = ForwardScratch(problem, nullptr).slice.used();
  return make_kernel(
      [problem, slice_floats](const KernelBuffers& buffers) {
        const AttentionForward forward{problem,
                                       buffers.operand<void>(0),
                                       buffers.operand<void>(1),
                                       buffers.operand<void>(2),
                                       buffers.operand<std::int32_t>(3),
                                       read_dropout(problem, buffers.operand<std::int64_t>(4)),
                                       buffers.result<void>(0),
                                       buffers.result<float>(1)};
        run_forward(forward, static_cast<float*>(buffers.scratch), slice_floats);
      },
      static_cast<std::size_t>(slice_floats * problem.workers) * sizeof(float));
}

}  // namespace bessemer::kernels::cpu
#endif
