#include "ir/graph.h"

#include <algorithm>
#include <array>
#include <tuple>

#include <fmt/format.h>

#include "base/error.h"

namespace bessemer::ir {
namespace {

constexpr std::array<std::pair<Role, std::string_view>, 6> kRoles{{{Role::data, "data"},
                                                                   {Role::parameter, "parameter"},
                                                                   {Role::gradient, "gradient"},
                                                                   {Role::optimizer, "optimizer"},
                                                                   {Role::weight, "weight"},
                                                                   {Role::cache, "cache"}}};

constexpr std::array<std::string_view, kTiers> kTierNames{"device", "host", "file"};

constexpr std::array<std::string_view, 5> kAxes{"pp", "dp", "cp", "ep", "tp"};

std::string_view last_part(std::string_view dotted) {
  // "layers.3.attention.q.weight" reads best as "q.weight"
  const auto last = dotted.rfind('.');
  if (last == std::string_view::npos) return dotted;
  const auto before = dotted.rfind('.', last - 1);
  return before == std::string_view::npos ? dotted : dotted.substr(before + 1);
}

}  // namespace

std::string_view name_of(MeshAxis axis) { return kAxes[static_cast<std::size_t>(axis)]; }

std::string to_string(const Placement& placement) {
  if (placement.replicated()) return "";
  std::vector<std::string> parts;
  for (const AxisPlacement& axis : placement.axes) {
    const auto name = name_of(axis.axis);
    parts.push_back(axis.kind == AxisPlacement::Kind::partial
                        ? fmt::format("{}:+", name)
                        : fmt::format("{}:{}", name, axis.dim));
  }
  return fmt::format("@({})", fmt::join(parts, ", "));
}

std::string_view name_of(Tier tier) { return kTierNames[index_of(tier)]; }

std::optional<Tier> parse_tier(std::string_view name) {
  for (std::size_t i = 0; i < kTiers; ++i) {
    if (kTierNames[i] == name) return static_cast<Tier>(i);
  }
  return std::nullopt;
}

std::string_view name_of(Role role) { return kRoles[static_cast<std::size_t>(role)].second; }

std::optional<Role> parse_role(std::string_view name) {
  for (const auto& [role, text] : kRoles) {
    if (text == name) return role;
  }
  return std::nullopt;
}

ValueId Graph::add_value(std::string_view wanted, TensorType type, Placement placement) {
  std::string name(wanted);
  for (auto [at, fresh] = next_suffix_.try_emplace(name, 1); !fresh;
       std::tie(at, fresh) = next_suffix_.try_emplace(name, 1)) {
    name = fmt::format("{}_{}", wanted, next_suffix_[std::string(wanted)]++);
  }
  values_.push_back({std::move(name), std::move(type), std::move(placement)});
  return static_cast<ValueId>(values_.size() - 1);
}

ValueId Graph::add_input(Role role, std::string name, TensorType type) {
  require(find_input(name) == nullptr, "graph {}: two inputs named {}", name_, name);
  const ValueId id = add_value(last_part(name), std::move(type));
  inputs_.push_back({id, role, std::move(name)});
  return id;
}

std::vector<ValueId> Graph::add_node(Node node, const std::vector<TensorType>& result_types) {
  node.results.clear();
  for (const TensorType& type : result_types) node.results.push_back(add_value(node.op, type));
  nodes_.push_back(std::move(node));
  return nodes_.back().results;
}

const Input* Graph::find_input(std::string_view name) const {
  const auto at = std::find_if(inputs_.begin(), inputs_.end(),
                               [&](const Input& input) { return input.name == name; });
  return at == inputs_.end() ? nullptr : &*at;
}

const Output* Graph::find_output(std::string_view name) const {
  const auto at = std::find_if(outputs_.begin(), outputs_.end(),
                               [&](const Output& output) { return output.name == name; });
  return at == outputs_.end() ? nullptr : &*at;
}

std::vector<int> producers(const Graph& graph) {
  std::vector<int> made_by(graph.values().size(), -1);
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    for (const ValueId result : graph.nodes()[i].results) {
      made_by[static_cast<std::size_t>(result)] = static_cast<int>(i);
    }
  }
  return made_by;
}

std::vector<std::vector<int>> users(const Graph& graph) {
  std::vector<std::vector<int>> used_by(graph.values().size());
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    for (const ValueId operand : graph.nodes()[i].operands) {
      if (operand == kAbsent) continue;
      auto& list = used_by[static_cast<std::size_t>(operand)];
      if (list.empty() || list.back() != static_cast<int>(i)) list.push_back(static_cast<int>(i));
    }
  }
  return used_by;
}

Graph without_dead_nodes(Graph graph) {
  std::vector<bool> live(graph.values().size(), false);
  for (const Output& output : graph.outputs()) live[static_cast<std::size_t>(output.value)] = true;
  auto& nodes = graph.nodes();
  std::vector<bool> keep(nodes.size(), false);
  for (std::size_t i = nodes.size(); i-- > 0;) {
    for (const ValueId result : nodes[i].results) {
      if (live[static_cast<std::size_t>(result)]) keep[i] = true;
    }
    if (!keep[i]) continue;
    for (const ValueId operand : nodes[i].operands) {
      if (operand != kAbsent) live[static_cast<std::size_t>(operand)] = true;
    }
  }
  std::size_t next = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (!keep[i]) continue;
    if (next != i) nodes[next] = std::move(nodes[i]);
    ++next;
  }
  nodes.resize(next);
  std::erase_if(graph.inputs(), [&](const Input& input) {
    return input.role == Role::data && !live[static_cast<std::size_t>(input.value)];
  });
  return graph;
}

}  // namespace bessemer::ir
