#include "base/error.h"
#include "passes/fuse.h"
#include "passes/rewrite.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

// True where `value` is computed, however indirectly, from a result of node `from`.
bool depends_on(const ir::Graph& graph, ValueId value, int from) {
  const std::vector<int> made_by = ir::producers(graph);
  std::vector<ValueId> open{value};
  std::vector<bool> seen(graph.values().size(), false);
  while (!open.empty()) {
    const ValueId next = open.back();
    open.pop_back();
    if (next == kAbsent || seen[static_cast<std::size_t>(next)]) continue;
    seen[static_cast<std::size_t>(next)] = true;
    const int producer = made_by[static_cast<std::size_t>(next)];
    if (producer == from) return true;
    if (producer < 0) continue;
    for (const ValueId operand : graph.nodes()[static_cast<std::size_t>(producer)].operands) {
      open.push_back(operand);
    }
  }
  return false;
}

// linear_cross_entropy(x, w, targets) -> loss, lse with
// linear_cross_entropy_grad(dloss, x, w, targets, lse) -> dx, dw.
bool belong_together(const ir::Node& forward, const ir::Node& backward) {
  return forward.op == "linear_cross_entropy" && backward.op == "linear_cross_entropy_grad" &&
         backward.operands[1] == forward.operands[0] &&
         backward.operands[2] == forward.operands[1] &&
         backward.operands[3] == forward.operands[2] && backward.operands[4] == forward.results[1];
}

}  // namespace

ir::Graph fuse_loss(ir::Graph graph) {
  for (std::size_t f = 0; f < graph.nodes().size(); ++f) {
    for (std::size_t b = f + 1; b < graph.nodes().size(); ++b) {
      if (!belong_together(graph.nodes()[f], graph.nodes()[b])) continue;
      const ir::Node forward = graph.nodes()[f];
      const ir::Node backward = graph.nodes()[b];
      const std::vector<int> uses = use_counts(graph);
      const ValueId dloss = backward.operands[0];
      if (uses[static_cast<std::size_t>(forward.results[1])] != 1)
        continue;  // lse wanted elsewhere
      if (depends_on(graph, dloss, static_cast<int>(f))) continue;
      ir::Node merged{"linear_cross_entropy_train",
                      {dloss, forward.operands[0], forward.operands[1], forward.operands[2]},
                      {},
                      forward.attributes,
                      forward.label};
      if (backward.operands.size() > 5) merged.operands.push_back(backward.operands[5]);
      merged.results = {forward.results[0], backward.results[0], backward.results[1]};
      graph.nodes()[f] = std::move(merged);
      graph.nodes().erase(graph.nodes().begin() + static_cast<std::ptrdiff_t>(b));
      break;
    }
  }
  return in_dependency_order(std::move(graph));
}

}  // namespace bessemer::passes
