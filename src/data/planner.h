// Which sequence of which source each rank takes at each step: from metadata, no token is read.
//
// A pure function of the mixture, the shape of a step and the method of balancing: who reads the
// sequences, how fast, and in how many workers does not enter.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/balance.h"
#include "data/mixture.h"

namespace bessemer::data {

/// A sequence that a rank takes.
struct PlannedRow {
  std::uint64_t sequence = 0;  // of the mixture
  std::uint32_t source = 0;
  std::uint64_t index = 0;  // in its source
};

struct PlannerOptions {
  BatchShape shape;                        // of a step, over all ranks
  Balance balance = Balance::round_robin;  // with several ranks; balance.h
  SequenceCost cost = {};                  // what is balanced
};

class Planner {
 public:
  Planner(std::shared_ptr<const Mixture> mixture, PlannerOptions options);

  const Mixture& mixture() const { return *mixture_; }
  const BatchShape& shape() const { return options_.shape; }
  std::uint64_t sequences_per_step() const {
    return static_cast<std::uint64_t>(options_.shape.sequences());
  }

  /// Plans the step that begins with sequence `first` of the mixture. InputError where the mixture
  /// ends within it. Allocates only where it balances.
  void plan(std::uint64_t first);

  /// Of the step planned last: sequence b of micro-batch m of a rank.
  PlannedRow row(std::int64_t rank, std::int64_t m, std::int64_t b) const;

 private:
  std::shared_ptr<const Mixture> mixture_;
  PlannerOptions options_;
  std::uint64_t first_ = 0;
  std::vector<std::uint32_t> order_;  // by place in the step, the sequence that stands there
};

}  // namespace bessemer::data
