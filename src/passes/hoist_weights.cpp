#include "passes/hoist_weights.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

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

// The dotted name tells how the weight is made, in characters that the name of a value has not.
ValueId add_weight(ir::Graph& graph, const std::string& name, TensorType type) {
  const ValueId value = graph.add_value("weight", std::move(type));
  graph.bind_input({value, ir::Role::weight, name});
  return value;
}

// How a result of `node` is made, written after how its operands are: "P.bf16" for a cast of P.
std::string derivation_of(const ir::Graph& graph, const ir::Node& node, std::size_t result,
                          const std::string& operands) {
  const TensorType& type = graph.type(node.results[result]);
  if (node.op == "cast") return fmt::format("{}.{}", operands, name_of(type.dtype));
  const std::string which = result == 0 ? "" : fmt::format("#{}", result);
  return fmt::format("{}.{}{}{}", operands, node.op, to_string(node.attributes), which);
}

// For each value that derives from parameters alone, how: equal texts are equal values. Empty for
// all others.
std::vector<std::string> derivations(const ir::Graph& graph) {
  std::vector<std::string> derivation(graph.values().size());
  for (const ir::Input& input : graph.inputs()) {
    if (input.role == ir::Role::parameter) {
      derivation[static_cast<std::size_t>(input.value)] = input.name;
    }
  }
  for (const ir::Node& node : graph.nodes()) {
    if (node.operands.empty() || ops::definition_of(node.op).is_view) continue;
    std::vector<std::string> operands;
    for (const ValueId operand : node.operands) {
      operands.push_back(operand == kAbsent ? "_" : derivation[static_cast<std::size_t>(operand)]);
    }
    if (std::find(operands.begin(), operands.end(), "") != operands.end()) continue;
    for (std::size_t i = 0; i < node.results.size(); ++i) {
      derivation[static_cast<std::size_t>(node.results[i])] =
          derivation_of(graph, node, i, fmt::format("{}", fmt::join(operands, ",")));
    }
  }
  return derivation;
}

}  // namespace

Hoisted hoist_weights(ir::Graph graph) {
  Hoisted hoisted{std::move(graph), ir::Graph("refresh")};
  ir::Graph& g = hoisted.graph;
  const std::vector<std::string> derivation = derivations(g);
  const std::vector<std::vector<int>> used_by = ir::users(g);
  const auto is_hoisted = [&](const ir::Node& node) {
    return !derivation[static_cast<std::size_t>(node.results[0])].empty();
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
      const std::string name = "weight." + derivation[static_cast<std::size_t>(result)];
      ValueId& weight = replacement[static_cast<std::size_t>(result)];
      if (const ir::Input* there = g.find_input(name)) {  // made twice
        weight = there->value;
        continue;
      }
      weight = add_weight(g, name, type);
      const ValueId made = extractor.extract(result);
      add_weight(hoisted.refresh, name, type);
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
    add_weight(a, output.name, TensorType(a.type(made)));
    a.add_write(output.name, made);
  }
  return a;
}

}  // namespace bessemer::passes
