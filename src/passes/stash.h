// The stash: what forward leaves behind for backward. What may be recomputed instead, and what a
// choice of values to keep costs.
//
// Everything here is about a graph in its order of execution (after `order`). The turn is its first
// node that depends on "loss_scale", the gradient of the loss: what stands before it is forward,
// what stands after it backward. The values that forward makes are looked at by their bytes: a view
// is the value it shows.
#pragma once

#include <cstddef>
#include <vector>

#include "cost/machine.h"
#include "ir/graph.h"

namespace bessemer::passes {

/// By value: true where it stays from forward to backward, if backward asks for it. Values that are
/// no candidates are never asked.
using Kept = std::vector<bool>;

class Stash {
 public:
  explicit Stash(const ir::Graph& graph);

  /// Index of the first node of backward; the number of nodes where there is none.
  int turn() const { return turn_; }

  ir::ValueId root(ir::ValueId v) const { return root_[static_cast<std::size_t>(v)]; }

  /// The node that makes the value, or -1.
  int made_by(ir::ValueId v) const { return made_by_[static_cast<std::size_t>(v)]; }

  /// True for values that forward makes and that clones could make again: roots, and no outputs of
  /// the graph, which are there anyway.
  bool is_candidate(ir::ValueId v) const { return candidate_[static_cast<std::size_t>(v)]; }

  /// The candidates, in the order in which forward makes them.
  const std::vector<ir::ValueId>& candidates() const { return candidates_; }

  /// True for candidates that a node after the turn uses.
  bool is_needed(ir::ValueId v) const { return needed_[static_cast<std::size_t>(v)]; }

  /// Candidates that are all that crosses from the nodes up to theirs to the later nodes of
  /// forward: in a transformer the residual stream between blocks. In order.
  std::vector<ir::ValueId> waists() const;

  Kept everything() const { return Kept(root_.size(), true); }

  /// What backward asks for when `kept` stays: stashed values, and nodes that run again.
  struct Demand {
    std::vector<ir::ValueId> stashed;
    std::vector<int> recomputed;  // nodes
  };
  Demand demand(const Kept& kept) const;

  std::size_t bytes(const Demand& demand) const;

 private:
  void find_roots();
  void find_turn();
  void find_candidates();

  const ir::Graph& graph_;
  int turn_ = 0;
  std::vector<ir::ValueId> root_;
  std::vector<int> made_by_;
  std::vector<bool> candidate_, needed_;
  std::vector<ir::ValueId> candidates_;
};

}  // namespace bessemer::passes
