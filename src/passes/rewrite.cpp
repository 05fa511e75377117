#include "passes/rewrite.h"

#include <algorithm>
#include <functional>
#include <queue>

#include "base/error.h"

namespace bessemer::passes {

using ir::kAbsent;
using ir::ValueId;

void replace_uses(ir::Graph& graph, ValueId from, ValueId to) {
  for (ir::Node& node : graph.nodes()) {
    for (ValueId& operand : node.operands) {
      if (operand == from) operand = to;
    }
  }
  for (ir::Output& output : graph.outputs()) {
    if (output.value == from) output.value = to;
  }
}

std::vector<int> use_counts(const ir::Graph& graph) {
  std::vector<int> counts(graph.values().size(), 0);
  for (const ir::Node& node : graph.nodes()) {
    for (const ValueId operand : node.operands) {
      if (operand != kAbsent) ++counts[static_cast<std::size_t>(operand)];
    }
  }
  for (const ir::Output& output : graph.outputs()) ++counts[static_cast<std::size_t>(output.value)];
  return counts;
}

ir::Graph in_dependency_order(ir::Graph graph) {
  const std::vector<int> made_by = ir::producers(graph);
  const std::vector<std::vector<int>> used_by = ir::users(graph);
  std::vector<int> waiting(graph.nodes().size(), 0);
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;  // lowest old position first
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    std::vector<ValueId> distinct = graph.nodes()[i].operands;
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    for (const ValueId operand : distinct) {
      if (operand != kAbsent && made_by[static_cast<std::size_t>(operand)] >= 0) ++waiting[i];
    }
    if (waiting[i] == 0) ready.push(static_cast<int>(i));
  }
  std::vector<ir::Node> sorted;
  while (!ready.empty()) {
    const auto next = static_cast<std::size_t>(ready.top());
    ready.pop();
    for (const ValueId result : graph.nodes()[next].results) {
      for (const int user : used_by[static_cast<std::size_t>(result)]) {
        if (--waiting[static_cast<std::size_t>(user)] == 0) ready.push(user);
      }
    }
    sorted.push_back(std::move(graph.nodes()[next]));
  }
  require(sorted.size() == graph.nodes().size(), "graph {} has a cycle", graph.name());
  graph.nodes() = std::move(sorted);
  return graph;
}

bool sums_rows(const ir::Graph& graph, const ir::Node& node) {
  if (node.op != "reduce_sum" || node.operands.size() != 1) return false;
  const TensorType& type = graph.type(node.operands[0]);
  return graph.type(node.results[0]).shape == Shape{type.dim(-1)} &&
         node.attributes.integers("dims").back() + 2 == type.rank();
}

std::vector<bool> persistent_on_device(const ir::Graph& graph) {
  std::vector<bool> is(graph.values().size(), false);
  for (const ir::Input& input : graph.inputs()) {
    is[static_cast<std::size_t>(input.value)] =
        ir::is_persistent(input.role) && graph.tier(input.value) == ir::Tier::device;
  }
  return is;
}

ir::Graph join_nodes(ir::Graph graph, std::vector<JoinedNodes> all) {
  std::vector<ir::Node*> replaced(graph.nodes().size(), nullptr);
  std::vector<bool> goes(graph.nodes().size(), false);
  for (JoinedNodes& joined : all) {
    for (const std::size_t i : joined.nodes) goes[i] = true;
    replaced[joined.nodes.back()] = &joined.as;
  }
  std::vector<ir::Node> nodes;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    if (replaced[i] != nullptr) nodes.push_back(std::move(*replaced[i]));
    if (!goes[i]) nodes.push_back(std::move(graph.nodes()[i]));
  }
  graph.nodes() = std::move(nodes);
  return graph;
}

}  // namespace bessemer::passes
