// The batches of one rank alone: a node (node.h) that feeds one constructor (constructor.h).
//
// The whole state is one integer, the index of the next sequence: a loader started at N gives
// what one that has advanced to N gives.
#pragma once

#include <cstdint>
#include <memory>

#include "data/batch.h"
#include "data/constructor.h"
#include "data/mixture.h"
#include "data/node.h"

namespace bessemer::data {

struct LoaderOptions {
  std::int64_t micro_batch_size = 1;       // sequences
  std::int64_t micro_batches = 1;          // in a step, on this rank
  std::int64_t rank = 0, ranks = 1;        // of the data-parallel axis
  std::uint64_t first_sequence = 0;        // where to start: what position() gave
  Balance balance = Balance::round_robin;  // with several ranks
  SequenceCost cost = {};                  // what is balanced
  NodeOptions node = {};                   // how rows are read; its ranks and first_sequence are
                                           // those above
};

/// A step takes micro_batch_size · micro_batches · ranks sequences; balance.h says which of them
/// each rank has. For one consuming thread.
class Loader {
 public:
  Loader(std::shared_ptr<const Mixture> mixture, const LoaderOptions& options);
  /// One source alone.
  Loader(std::shared_ptr<const SequenceSource> source, const LoaderOptions& options);

  using Next = Constructor::Next;
  Next next() { return constructor_.next(); }

  /// Index of the first sequence that next() has not given yet.
  std::uint64_t position() const { return constructor_.position(); }

  std::uint64_t sequences_per_step() const { return node_.planner().sequences_per_step(); }
  const Node& node() const { return node_; }

 private:
  Node node_;
  Constructor constructor_;
};

}  // namespace bessemer::data
