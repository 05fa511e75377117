// The rules of tiers, as the verifier holds them.
//
// Arithmetic happens on the device: operands and results of a node are there. Exceptions are the
// nodes that move (fetch, store), views, which stay where their operand is, and ops that may run on
// the host, all of whose tensors are then there (scalars may lie on the device: they go along).
//
// A store into a tensor replaces bytes that older values of the graph name too. Such a value may be
// read on only where it still has its bytes: by a fetch of elements that no store has touched.
#pragma once

#include <vector>

#include "ops/movement.h"
#include "ops/op.h"

namespace bessemer::ops {

/// Error where the node's operands or results lie in tiers that its op cannot take.
void check_tiers(const ir::Graph& graph, const ir::Node& node);

/// Whether the node runs in the host tier: some tensor of it is there, and it does not move one.
bool runs_on_host(const ir::Graph& graph, const ir::Node& node);

/// Follows the values of a graph, node by node in order.
class UpdateChecker {
 public:
  explicit UpdateChecker(const ir::Graph& graph);

  /// Error where the node reads what a store before it has replaced.
  void visit(const ir::Node& node);
  /// Error where an output is such a value.
  void check_whole(ir::ValueId value) const;

 private:
  struct Version {
    ir::ValueId root = ir::kAbsent;  // the value whose bytes these are
    std::size_t updates = 0;         // stores into them before this value
  };
  void check_read(ir::ValueId value, const ElementRange& range) const;
  Version& version(ir::ValueId value) { return versions_[static_cast<std::size_t>(value)]; }
  const Version& version(ir::ValueId value) const {
    return versions_[static_cast<std::size_t>(value)];
  }

  const ir::Graph& graph_;
  std::vector<Version> versions_;                   // by value
  std::vector<std::vector<ElementRange>> updated_;  // by root, in order
};

}  // namespace bessemer::ops
