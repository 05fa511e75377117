#include "passes/hoist_weights.h"

#include <fmt/format.h>

#include "base/error.h"
#include "ops/builder.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

// Appends to `refresh` the nodes that make `value` of `graph`, and returns it there.
class Extractor {
 public:
  Extractor(const ir::Graph& graph, ir::Graph& refresh)
      : graph_(graph), refresh_(refresh), made_by_(ir::producers(graph)) {
    map_.assign(graph.values().size(), kAbsent);
  }

  ValueId extract(ValueId value) {
    ValueId& copy = map_[static_cast<std::size_t>(value)];
    if (copy != kAbsent) return copy;
    const int producer = made_by_[static_cast<std::size_t>(value)];
    if (producer < 0) return copy = input(value);
    ir::Node node = graph_.nodes()[static_cast<std::size_t>(producer)];
    for (ValueId& operand : node.operands) {
      if (operand != kAbsent) operand = extract(operand);
    }
    std::vector<TensorType> types;
    const std::vector<ValueId> old_results = node.results;
    for (const ValueId result : old_results) types.push_back(graph_.type(result));
    const std::vector<ValueId> results = refresh_.add_node(std::move(node), types);
    for (std::size_t i = 0; i < results.size(); ++i) {
      map_[static_cast<std::size_t>(old_results[i])] = results[i];
    }
    return map_[static_cast<std::size_t>(value)];
  }

 private:
  ValueId input(ValueId value) {
    for (const ir::Input& candidate : graph_.inputs()) {
      if (candidate.value != value) continue;
      if (const ir::Input* there = refresh_.find_input(candidate.name)) return there->value;
      return refresh_.add_input(candidate.role, candidate.name, graph_.type(value));
    }
    fail("value %{} has neither a node nor an input", graph_.value(value).name);
  }

  const ir::Graph& graph_;
  ir::Graph& refresh_;
  std::vector<int> made_by_;
  std::vector<ValueId> map_;
};

// Nodes all of whose operands derive from parameters, with the parameter each result comes from.
std::vector<std::string> parameter_of_values(const ir::Graph& graph) {
  std::vector<std::string> parameter(graph.values().size());
  for (const ir::Input& input : graph.inputs()) {
    if (input.role == ir::Role::parameter) {
      parameter[static_cast<std::size_t>(input.value)] = input.name;
    }
  }
  for (const ir::Node& node : graph.nodes()) {
    std::string from;
    bool all = !node.operands.empty();
    for (const ValueId operand : node.operands) {
      const std::string& p =
          operand == kAbsent ? from : parameter[static_cast<std::size_t>(operand)];
      all = all && !p.empty();
      if (from.empty()) from = p;
    }
    if (!all || ops::definition_of(node.op).is_view) continue;
    for (const ValueId result : node.results) parameter[static_cast<std::size_t>(result)] = from;
  }
  return parameter;
}

std::string weight_name(const std::string& parameter, const ir::Node& node,
                        const TensorType& type) {
  if (node.op == "cast") return fmt::format("weight.{}.{}", parameter, name_of(type.dtype));
  const std::string text = to_string(node.attributes);
  return fmt::format("weight.{}.{}{}", parameter, node.op, text);
}

}  // namespace

Hoisted hoist_weights(ir::Graph graph) {
  Hoisted hoisted{std::move(graph), ir::Graph("refresh")};
  ir::Graph& g = hoisted.graph;
  const std::vector<std::string> parameter = parameter_of_values(g);
  const std::vector<std::vector<int>> used_by = ir::users(g);
  const auto is_hoisted = [&](const ir::Node& node) {
    return !parameter[static_cast<std::size_t>(node.results[0])].empty();
  };
  Extractor extractor(g, hoisted.refresh);
  std::vector<ValueId> replacement(g.values().size(), kAbsent);
  const std::vector<ir::Node> nodes = g.nodes();
  for (const ir::Node& node : nodes) {
    if (!is_hoisted(node)) continue;
    for (const ValueId result : node.results) {
      bool leaves = false;  // used by a node that stays
      for (const int user : used_by[static_cast<std::size_t>(result)]) {
        leaves = leaves || !is_hoisted(nodes[static_cast<std::size_t>(user)]);
      }
      if (!leaves) continue;
      const TensorType type = g.type(result);
      const std::string name = weight_name(parameter[static_cast<std::size_t>(result)], node, type);
      replacement[static_cast<std::size_t>(result)] = g.add_input(ir::Role::weight, name, type);
      const ValueId made = extractor.extract(result);
      hoisted.refresh.add_input(ir::Role::weight, name, type);
      hoisted.refresh.add_write(name, made);
    }
  }
  for (ir::Node& node : g.nodes()) {
    for (ValueId& operand : node.operands) {
      if (operand == kAbsent || static_cast<std::size_t>(operand) >= replacement.size()) continue;
      const ValueId other = replacement[static_cast<std::size_t>(operand)];
      if (other != kAbsent) operand = other;
    }
  }
  g = ir::without_dead_nodes(std::move(g));
  return hoisted;
}

ir::Graph merge_refresh(ir::Graph a, const ir::Graph& b) {
  Extractor extractor(b, a);
  for (const ir::Output& output : b.outputs()) {
    if (a.find_output(output.name) != nullptr) continue;
    const ValueId made = extractor.extract(output.value);
    a.add_input(ir::Role::weight, output.name, a.type(made));
    a.add_write(output.name, made);
  }
  return a;
}

}  // namespace bessemer::passes
