// What attention's gradient wants to know of each query: do . o and the log-sum-exp of its row, in
// the order the tiles read them, and the keys it sees. Reads do and o once, 16 bytes a lane: 4·D
// bytes of bf16 for each query and head, of which the four rows of a warp ask at once.
#include "kernels/cuda/attention_grad.cuh"

#include "base/rounding.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kRowLanes = 8;
constexpr int kThreads = 256;
constexpr int kRows = kThreads / kRowLanes;

template <typename T>
__device__ float dot(const T* a, const T* b, int n, int first, int step) {
  float sum = 0;
  if (n % Pack<T>::kSize == 0) {
    for (int d = first * Pack<T>::kSize; d < n; d += step * Pack<T>::kSize) {
      const Pack<T> x = load_pack(a + d), y = load_pack(b + d);
#pragma unroll
      for (int i = 0; i < Pack<T>::kSize; ++i) sum += to_float(x.at[i]) * to_float(y.at[i]);
    }
    return sum;
  }
  for (int d = first; d < n; d += step) sum += to_float(a[d]) * to_float(b[d]);
  return sum;
}

template <typename T>
__global__ void find_statistics(Backward<T> backward) {
  const Attention& problem = backward.problem;
  const QueryFacts& facts = backward.facts;
  const std::int64_t row = std::int64_t{blockIdx.x} * kRows + threadIdx.x / kRowLanes;
  const int head = static_cast<int>(row % problem.heads);
  const std::int64_t token = row / problem.heads;
  const int t = static_cast<int>(token % facts.padded), b = static_cast<int>(token / facts.padded);
  const bool exists = b < problem.batch && t < problem.queries;
  float delta = 0;
  if (exists) {
    const std::int64_t at = problem.query_row(b, t, head);
    delta = dot(backward.d_o + at, backward.o + at, problem.head_size,
                static_cast<int>(threadIdx.x) % kRowLanes, kRowLanes);
  }
  for (int lanes = kRowLanes / 2; lanes > 0; lanes /= 2) delta += shuffle_xor(delta, lanes);
  if (threadIdx.x % kRowLanes != 0 || b >= problem.batch) return;
  const float lse = exists ? backward.lse[problem.statistic(b, head, t)] : -INFINITY;
  facts.statistics[facts.statistic(b, head, t, problem.heads)] = {
      lse == -INFINITY ? INFINITY : lse * kLog2E, delta};
}

/// A warp for each kFactTile queries.
__global__ void find_sight(Attention problem, QueryFacts facts) {
  static_assert(kFactTile == 2 * kWarp);
  const int tiles = facts.padded / kFactTile;
  const int tile = static_cast<int>(blockIdx.x) % tiles, b = static_cast<int>(blockIdx.x) / tiles;
  const int near = tile * kFactTile + lane(), far = near + kWarp;
  const Interval near_seen = keys_seen(problem, b, near), far_seen = keys_seen(problem, b, far);
  facts.seen[facts.query(b, near)] = near_seen;
  facts.seen[facts.query(b, far)] = far_seen;
  const Sight sight = sight_of_warp(both(sight_of(problem, near_seen, near < problem.queries),
                                         sight_of(problem, far_seen, far < problem.queries)));
  if (lane() == 0) facts.sight[blockIdx.x] = sight;
}

}  // namespace

FactLayout::FactLayout(const Attention& problem)
    : padded(round_up(problem.queries, 2 * kFactTile)),
      statistics_bytes(sizeof(RowStatistic) * static_cast<std::size_t>(problem.batch) *
                       static_cast<std::size_t>(problem.heads) * static_cast<std::size_t>(padded)),
      seen_bytes(sizeof(Interval) * static_cast<std::size_t>(problem.batch) *
                 static_cast<std::size_t>(padded)),
      bytes(statistics_bytes + seen_bytes +
            sizeof(Sight) * static_cast<std::size_t>(problem.batch) *
                static_cast<std::size_t>(padded / kFactTile)) {}

QueryFacts FactLayout::at(void* scratch) const {
  auto* first = static_cast<std::byte*>(scratch);
  return {padded, reinterpret_cast<RowStatistic*>(first),
          reinterpret_cast<Interval*>(first + statistics_bytes),
          reinterpret_cast<Sight*>(first + statistics_bytes + seen_bytes)};
}

template <typename T>
void find_facts(const Backward<T>& backward, Stream stream) {
  const Attention& problem = backward.problem;
  const std::int64_t tokens = std::int64_t{problem.batch} * backward.facts.padded;
  launch(find_statistics<T>,
         {divide_up(tokens * problem.heads, std::int64_t{kRows}), 1, 1, kThreads}, stream,
         backward);
  launch(find_sight, {tokens / kFactTile, 1, 1, kWarp}, stream, problem, backward.facts);
}

template void find_facts(const Backward<float>&, Stream);
template void find_facts(const Backward<BFloat16>&, Stream);

}  // namespace bessemer::kernels::cuda
