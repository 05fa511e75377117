// Which rank and which micro-batch takes which sequence of a global batch.
//
// A step ends when its slowest rank does, and sequences of one length differ in their work: packed
// documents do not see each other, so attention over two halves costs half of attention over the
// whole. Only places within the global batch change: the set of sequences of a step, and the sum of
// their losses, do not depend on the method.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace bessemer::data {

/// What a sequence costs, in any unit: its tokens, and the pairs that attention looks at.
struct SequenceCost {
  double per_token = 1;
  double per_pair = 0;

  /// Of a sequence whose parts, each attending to itself alone, have these lengths.
  double operator()(std::span<const std::int64_t> parts) const;
};

enum class Balance {
  round_robin,    // the order of the mixture
  greedy,         // the costliest first, each to the rank with least (Graham, "Bounds on
                  // multiprocessing timing anomalies", 1969), as long as it has room
  karmarkar_karp  // balanced differencing: tuples of one sequence a rank, the tuple with the
                  // largest spread folded into the next, its largest against the smallest
                  // (Karmarkar and Karp, 1982; Michiels et al., "Performance ratios for the
                  // balanced differencing method", 2003)
};

struct BatchShape {
  std::int64_t ranks = 1;
  std::int64_t micro_batches = 1;     // of each rank
  std::int64_t micro_batch_size = 1;  // sequences

  std::int64_t sequences() const { return ranks * micro_batches * micro_batch_size; }
  /// Where sequence b of micro-batch m of a rank stands in the global batch.
  std::int64_t place(std::int64_t rank, std::int64_t m, std::int64_t b) const {
    return (m * ranks + rank) * micro_batch_size + b;
  }
};

/// By place, the sequence that stands there: a permutation. The sequences of a rank are spread over
/// its micro-batches evenly too, costly micro-batches first, so that those of all ranks that run
/// at the same time are alike. `costs` has one entry for each sequence of the batch.
std::vector<std::uint32_t> balance(std::span<const double> costs, const BatchShape& shape,
                                   Balance method);

/// The costliest rank over the mean of the ranks; 1 where every rank costs the same.
double imbalance(std::span<const double> costs, std::span<const std::uint32_t> order,
                 const BatchShape& shape);

}  // namespace bessemer::data
