// What the kernels of attention's gradient share: its buffers, and what is found once about each
// query before any of them runs.
//
// With P the softmax, M the dropout multiplier and dP = M * (do . v):
//   dv = sum over queries of P M do,  dS = P (dP - delta),  delta = do . o,
//   dq = scale * dS k,  dk = scale * dS q.
#pragma once

#include "kernels/cuda/attention_problem.cuh"

namespace bessemer::kernels::cuda {

/// Queries whose facts end at the same place; tiles of queries are multiples of it.
inline constexpr int kFactTile = 64;

/// P = 2^(score · scale · log2(e) - base).
struct RowStatistic {
  float base, delta;
};

/// Facts about queries, with rows beyond the last that see nothing and weigh nothing.
struct QueryFacts {
  int padded;                // queries of a sequence, up to a multiple of 2·kFactTile
  RowStatistic* statistics;  // [batch, heads, padded]
  Interval* seen;            // [batch, padded]
  Sight* sight;              // [batch, padded / kFactTile]

  __device__ std::int64_t statistic(int b, int h, int t, int heads) const {
    return (std::int64_t{b} * heads + h) * padded + t;
  }
  __device__ std::int64_t query(int b, int t) const { return std::int64_t{b} * padded + t; }
};

template <typename T>
struct Backward {
  Attention problem;
  const T *d_o, *q, *k, *v, *o;
  const float* lse;
  T *dq, *dk, *dv;
  QueryFacts facts;
};

/// Where the facts lie in scratch; without it, only how much of it they take.
struct FactLayout {
  explicit FactLayout(const Attention& problem);
  QueryFacts at(void* scratch) const;

  int padded;
  std::size_t statistics_bytes, seen_bytes, bytes;
};

/// Queued before what reads the facts.
template <typename T>
void find_facts(const Backward<T>& backward, Stream stream);

/// The buffers of attention_grad.
template <typename T>
Backward<T> backward_of(const Attention& problem, const FactLayout& layout,
                        const KernelBuffers& buffers) {
  return {with_buffers(problem, buffers, 6),
          buffers.operand<T>(0),
          buffers.operand<T>(1),
          buffers.operand<T>(2),
          buffers.operand<T>(3),
          buffers.operand<T>(4),
          buffers.operand<float>(5),
          buffers.result<T>(0),
          buffers.result<T>(1),
          buffers.result<T>(2),
          layout.at(buffers.scratch)};
}

}  // namespace bessemer::kernels::cuda
