#include <fmt/format.h>

#include "ir/text.h"

namespace bessemer::ir {
namespace {

std::string typed(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  std::string text = fmt::format("%{}: {}", value.name, to_string(value.type));
  if (!value.placement.replicated()) text += fmt::format(" {}", to_string(value.placement));
  if (value.tier != Tier::device) text += fmt::format(" @{}", name_of(value.tier));
  return text;
}

std::string quoted(const std::string& name) { return bessemer::to_string(Attribute(name)); }

}  // namespace

std::string print_node(const Graph& graph, const Node& node) {
  std::vector<std::string> results, operands;
  for (const ValueId id : node.results) results.push_back(typed(graph, id));
  for (const ValueId id : node.operands) {
    operands.push_back(id == kAbsent ? "_" : fmt::format("%{}", graph.value(id).name));
  }
  std::string line =
      fmt::format("{} = {}({})", fmt::join(results, ", "), node.op, fmt::join(operands, ", "));
  if (!node.attributes.empty()) line += fmt::format(" {}", bessemer::to_string(node.attributes));
  if (!node.label.empty()) line += fmt::format("   # {}", node.label);
  return line;
}

std::string print(const Graph& graph) {
  std::string text = fmt::format("graph {}\n", graph.name());
  for (const Input& input : graph.inputs()) {
    text += fmt::format("{} {} {}\n", name_of(input.role), typed(graph, input.value),
                        quoted(input.name));
  }
  for (const Node& node : graph.nodes()) text += print_node(graph, node) + "\n";
  for (const Output& output : graph.outputs()) {
    text += fmt::format("{} {} %{}\n", output.kind == Output::Kind::write ? "write" : "return",
                        quoted(output.name), graph.value(output.value).name);
  }
  return text;
}

}  // namespace bessemer::ir
