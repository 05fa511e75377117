// Blocks whose warps are divided into teams of equal size, each of which has a row of its own, or
// one after the other, all teams in step.
#pragma once

#include <algorithm>

#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda {

struct Team {
  int index;    // of this thread's team in the block
  int count;    // teams of a block
  int thread;   // this thread in its team
  int threads;  // of a team

  __device__ explicit Team(int warps)
      : index(static_cast<int>(threadIdx.x) / (warps * kWarp)),
        count(static_cast<int>(blockDim.x) / (warps * kWarp)),
        thread(static_cast<int>(threadIdx.x) % (warps * kWarp)),
        threads(warps * kWarp) {}
};

/// Each of the values summed over the threads of a team, in every thread, in a fixed order. All
/// threads of the block call it.
template <int kCount>
__device__ void team_sums(float (&values)[kCount], const Team& team) {
  for (float& value : values) value = warp_sum(value);
  if (team.threads == kWarp) return;
  __shared__ float of_warp[kCount][kWarp];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  sync_block();  // an earlier use has been read
  if (lane() == 0) {
    for (int k = 0; k < kCount; ++k) of_warp[k][warp] = values[k];
  }
  sync_block();
  const int warps = team.threads / kWarp;
  for (int k = 0; k < kCount; ++k) {
    values[k] = warp_sum(lane() < warps ? of_warp[k][team.index * warps + lane()] : 0.0f);
  }
}
__device__ inline float team_sum(float value, const Team& team) {
  float values[] = {value};
  team_sums(values, team);
  return values[0];
}

/// Warps of a block that is not of one large team.
inline constexpr int kBlockWarps = 8;

/// Threads of a block of as many teams of `warps` as fit kBlockWarps, at least one.
inline int block_threads(int warps) { return std::max(1, kBlockWarps / warps) * warps * kWarp; }

}  // namespace bessemer::kernels::cuda
