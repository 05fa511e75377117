#include "passes/stash_moves.h"

#include <algorithm>

#include "cost/node_seconds.h"
#include "ops/op.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

std::size_t index(ValueId value) { return static_cast<std::size_t>(value); }

std::vector<ValueId> roots(const ir::Graph& graph) {
  std::vector<ValueId> root(graph.values().size());
  for (std::size_t v = 0; v < root.size(); ++v) root[v] = static_cast<ValueId>(v);
  for (const ir::Node& node : graph.nodes()) {
    if (!ops::definition_of(node.op).is_view) continue;
    root[index(node.results[0])] = root[index(node.operands[0])];
  }
  return root;
}

bool has_backward(const ir::Graph& graph) {
  return std::any_of(graph.inputs().begin(), graph.inputs().end(),
                     [](const ir::Input& input) { return input.role == ir::Role::gradient; });
}

// The last use in forward and the first in backward, as times; nothing where one of them is not.
struct Pause {
  double begin = -1;
  double end = -1;
};

}  // namespace

StashMoves find_stash_moves(const ir::Graph& graph, const OffloadOptions& options,
                            const cost::MachineDescription& machine) {
  StashMoves stash;
  stash.root = roots(graph);
  const ir::Output* loss = graph.find_output("loss");
  if (options.activations == ir::Tier::device || loss == nullptr || !has_backward(graph)) {
    return stash;
  }
  const std::vector<int> made_by = ir::producers(graph);
  if (made_by[index(loss->value)] < 0) return stash;
  stash.boundary = static_cast<std::size_t>(made_by[index(loss->value)]);

  std::vector<Pause> pauses(graph.values().size());
  double now = 0;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const ir::Node& node = graph.nodes()[i];
    const double end = now + cost::node_seconds(graph, node, machine);
    const bool view = ops::definition_of(node.op).is_view;
    for (const ValueId result : node.results) pauses[index(result)].begin = end;
    for (const ValueId operand : node.operands) {
      if (operand == kAbsent || view) continue;
      Pause& pause = pauses[index(stash.root[index(operand)])];
      if (i <= stash.boundary) pause.begin = end;
      if (i > stash.boundary && pause.end < 0) pause.end = now;
    }
    now = end;
  }
  for (std::size_t v = 0; v < pauses.size(); ++v) {
    const int made = made_by[v];
    if (stash.root[v] != static_cast<ValueId>(v) || made < 0 || pauses[v].end < 0) continue;
    if (static_cast<std::size_t>(made) > stash.boundary) continue;
    const std::size_t size = graph.values()[v].type.bytes();
    const auto bytes = static_cast<double>(size);
    const double moves =
        cost::transfer_seconds(bytes, options.activations, cost::Direction::from_device, machine) +
        cost::transfer_seconds(bytes, options.activations, cost::Direction::to_device, machine);
    const bool worth = pauses[v].end - pauses[v].begin >= options.patience * moves;
    if (size >= options.smallest && worth) stash.values.insert(static_cast<ValueId>(v));
  }
  return stash;
}

}  // namespace bessemer::passes
