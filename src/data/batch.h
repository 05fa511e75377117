// What the trainer takes: the sequences of a step, as one rank has them.
#pragma once

#include <cstdint>
#include <vector>

namespace bessemer::data {

/// What one accumulate pass eats on one rank: B sequences of T tokens, row-major.
struct Batch {
  std::vector<std::int32_t> tokens, targets, positions;  // [B, T]; see dataset.h
  std::vector<std::int32_t> visibility;                  // [B, T, 2]
  std::int64_t valid_tokens = 0;                         // targets that are not −1
};

/// A rank's part of one optimiser step.
struct GlobalBatch {
  std::vector<Batch> micro_batches;
  std::uint64_t first_sequence = 0;  // of the step, over all ranks
  std::int64_t valid_tokens = 0;     // of all micro-batches of this rank
};

}  // namespace bessemer::data
