// What all attention kernels share: the shape of the problem, which keys a query sees, and which
// probabilities a dropout keeps.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/attention_problem.h"
#include "kernels/cuda/simt.cuh"
#include "kernels/dropout_mask.h"

namespace bessemer::kernels::cuda {

inline constexpr float kLog2E = 1.44269504f;

/// Shapes: q, o [batch, queries, heads, head_size]; k, v [batch, keys, key_heads, head_size];
/// lse [batch, heads, queries]; visibility [batch, queries, 2]. Head h uses key head
/// h / heads_per_key_head().
struct Attention {
  int batch, queries, keys, heads, key_heads, head_size;
  float scale;
  float log2_scale;  // of scores in powers of two
  bool causal;
  int window;  // 0: none
  std::uint32_t site, drop_below;
  float keep_scale;                // of what dropout keeps; 1 without
  const std::int32_t* visibility;  // may be null
  const std::int64_t* counter;     // null: no dropout

  __device__ int heads_per_key_head() const { return heads / key_heads; }
  // Offsets, in elements, of the row of head `h` at a token, and from one token's to the next's.
  __device__ std::int64_t query_row(int b, int t, int h) const {
    return ((std::int64_t{b} * queries + t) * heads + h) * head_size;
  }
  __device__ std::int64_t key_row(int b, int s, int h) const {
    return ((std::int64_t{b} * keys + s) * key_heads + h) * head_size;
  }
  __device__ int query_stride() const { return heads * head_size; }
  __device__ int key_stride() const { return key_heads * head_size; }
  __device__ std::int64_t statistic(int b, int h, int t) const {
    return (std::int64_t{b} * heads + h) * queries + t;
  }
};

/// The problem without its buffers: without dropout, `counter` stays null.
inline Attention without_buffers(const AttentionProblem& problem) {
  const auto small = [](std::int64_t x) { return static_cast<int>(x); };
  return {.batch = small(problem.batch),
          .queries = small(problem.queries),
          .keys = small(problem.keys),
          .heads = small(problem.heads),
          .key_heads = small(problem.key_heads),
          .head_size = small(problem.head_size),
          .scale = problem.scale,
          .log2_scale = problem.scale * kLog2E,
          .causal = problem.causal,
          .window = small(std::min<std::int64_t>(problem.window, std::int64_t{1} << 28)),
          .site = problem.site,
          .drop_below = threshold(problem.dropout),
          .keep_scale = static_cast<float>(keep_scale(problem.dropout)),
          .visibility = nullptr,
          .counter = nullptr};
}

/// The same with them; `optionals` is the index of visibility, which the counter follows.
inline Attention with_buffers(Attention problem, const KernelBuffers& buffers,
                              std::size_t optionals) {
  problem.visibility = buffers.operand<std::int32_t>(optionals);
  if (problem.drop_below > 0) problem.counter = buffers.operand<std::int64_t>(optionals + 1);
  return problem;
}

/// Keys [low, high); none: low is the number of keys and high 0, which never widens a union.
struct Interval {
  int low, high;
  __device__ bool has(int key) const { return low <= key && key < high; }
};

/// What query `t` sees; one beyond the last sees nothing.
__device__ inline Interval keys_seen(const Attention& problem, int b, int t) {
  Interval seen{problem.keys, 0};
  if (t >= problem.queries) return seen;
  const int own = t + problem.keys - problem.queries;
  int low = problem.window > 0 ? std::max(own - problem.window + 1, 0) : 0;
  int high = problem.causal ? std::min(own + 1, problem.keys) : problem.keys;
  if (problem.visibility != nullptr) {
    const std::int32_t* interval = problem.visibility + (std::int64_t{b} * problem.queries + t) * 2;
    low = std::max(low, interval[0]);
    high = std::min(high, interval[1]);
  }
  if (low < high) seen = {low, high};
  return seen;
}

/// Over several queries: keys outside `any` none of them sees, keys inside `all` all of them see.
struct Sight {
  Interval any, all;
  __device__ bool sees_any(int begin, int end) const { return any.low < end && any.high > begin; }
  __device__ bool sees_all(int begin, int end) const { return all.low <= begin && all.high >= end; }
};

/// Of one query; `exists`: it is none beyond the last, whose scores nobody reads.
__device__ inline Sight sight_of(const Attention& problem, const Interval& seen, bool exists) {
  return {seen, exists ? seen : Interval{0, problem.keys}};
}

__device__ inline Sight both(const Sight& a, const Sight& b) {
  return {{std::min(a.any.low, b.any.low), std::max(a.any.high, b.any.high)},
          {std::max(a.all.low, b.all.low), std::min(a.all.high, b.all.high)}};
}

__device__ inline Interval shuffle_interval(const Interval& x, int lanes) {
  return {shuffle_xor(x.low, lanes), shuffle_xor(x.high, lanes)};
}

/// Over the queries of a warp's lanes.
__device__ inline Sight sight_of_warp(Sight sight) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    sight = both(sight, {shuffle_interval(sight.any, lanes), shuffle_interval(sight.all, lanes)});
  }
  return sight;
}

/// The dropout mask of kernels/dropout_mask.h.
class Dropout {
 public:
  __device__ explicit Dropout(const Attention& problem)
      : rng_(static_cast<std::uint64_t>(problem.counter[0]),
             fold(problem.counter[1], problem.counter[2]), problem.site),
        drop_below_(problem.drop_below) {}

  /// Of the probabilities of block `block`, four of consecutive indices; bit i for the ith.
  __device__ unsigned kept_of_block(std::uint64_t block) const {
    const PhiloxCounter words = rng_.block(block);
    return (words[0] >= drop_below_ ? 1u : 0u) | (words[1] >= drop_below_ ? 2u : 0u) |
           (words[2] >= drop_below_ ? 4u : 0u) | (words[3] >= drop_below_ ? 8u : 0u);
  }
  __device__ bool keeps(std::uint64_t index) const {
    return (kept_of_block(index / 4) >> (index % 4) & 1u) != 0;
  }

 private:
  CounterRng rng_;
  std::uint32_t drop_below_;
};

}  // namespace bessemer::kernels::cuda
