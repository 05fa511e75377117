#include "passes/join_updates.h"

#include <algorithm>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "passes/rewrite.h"

namespace bessemer::passes {
namespace {

using ir::ValueId;

constexpr std::size_t kTensors = 4;  // of a node: parameter, gradient, m, v; then three scalars
constexpr std::size_t kMost = 1024;  // parameters of a joined node

// Nodes by number, and what is common to them.
struct Group {
  std::vector<std::size_t> nodes;
  std::vector<ValueId> scalars;
  double beta1 = 0, beta2 = 0, epsilon = 0;
  DType parameters = DType::fp32;
  std::int64_t seed = 0;              // of what rounds parameters in bf16
  std::optional<double> decay;        // of those that decay
  std::optional<std::string> weight;  // of those that give one
};

bool can_join(const ir::Graph& graph, const ir::Node& node, const std::vector<bool>& persistent,
              const std::vector<std::vector<int>>& users) {
  if (node.op != "adamw_update") return false;
  const bool reads_there =
      std::all_of(node.operands.begin(), node.operands.begin() + kTensors,
                  [&](ValueId operand) { return persistent[static_cast<std::size_t>(operand)]; });
  return reads_there && std::all_of(node.results.begin(), node.results.end(), [&](ValueId result) {
           return graph.tier(result) == ir::Tier::device &&
                  users[static_cast<std::size_t>(result)].empty();
         });
}

template <typename T>
bool agrees(const std::optional<T>& common, const std::optional<T>& own) {
  return !common || !own || *common == *own;
}

// Puts the node into the group, if it differs from those there in its tensors alone.
bool joins(Group& group, const ir::Graph& graph, std::size_t i) {
  const ir::Node& node = graph.nodes()[i];
  const DType parameter = graph.type(node.operands[0]).dtype;
  const std::int64_t seed = node.attributes.integer("seed", 0);
  const std::vector<ValueId> scalars(node.operands.begin() + kTensors, node.operands.end());
  const double decays = node.attributes.real("weight_decay");
  const auto decay = decays == 0 ? std::nullopt : std::optional(decays);
  const auto weight =
      node.results.size() == 3 ? std::nullopt : std::optional(node.attributes.text("weight"));
  if (group.nodes.empty()) {
    group = {{},
             scalars,
             node.attributes.real("beta1"),
             node.attributes.real("beta2"),
             node.attributes.real("epsilon"),
             parameter,
             seed,
             decay,
             weight};
  }
  if (group.nodes.size() == kMost || group.scalars != scalars ||
      group.beta1 != node.attributes.real("beta1") ||
      group.beta2 != node.attributes.real("beta2") ||
      group.epsilon != node.attributes.real("epsilon") || group.parameters != parameter ||
      group.seed != seed || !agrees(group.decay, decay) || !agrees(group.weight, weight)) {
    return false;
  }
  if (decay) group.decay = decay;
  if (weight) group.weight = weight;
  group.nodes.push_back(i);
  return true;
}

ir::Node joined(const ir::Graph& graph, const Group& group) {
  ir::Node all;
  all.op = "adamw_update_all";
  all.label = fmt::format("{} parameters", group.nodes.size());
  all.operands = group.scalars;
  std::vector<std::int64_t> decays, weights, sites;
  std::vector<ValueId> rounded;
  for (const std::size_t i : group.nodes) {
    const ir::Node& node = graph.nodes()[i];
    all.operands.insert(all.operands.end(), node.operands.begin(),
                        node.operands.begin() + kTensors);
    all.results.insert(all.results.end(), node.results.begin(), node.results.begin() + 3);
    rounded.insert(rounded.end(), node.results.begin() + 3, node.results.end());
    decays.push_back(node.attributes.real("weight_decay") != 0 ? 1 : 0);
    weights.push_back(node.results.size() > 3 ? 1 : 0);
    sites.push_back(node.attributes.integer("site", 0));
  }
  all.results.insert(all.results.end(), rounded.begin(), rounded.end());
  all.attributes = {{"beta1", group.beta1},     {"beta2", group.beta2},
                    {"epsilon", group.epsilon}, {"weight_decay", group.decay.value_or(0)},
                    {"decays", decays},         {"weights", weights}};
  if (group.weight) all.attributes.set("weight", *group.weight);
  if (group.parameters == DType::bf16) {
    all.attributes.set("seed", group.seed);
    all.attributes.set("sites", sites);
  }
  return all;
}

}  // namespace

ir::Graph join_updates(ir::Graph graph) {
  const std::vector<bool> persistent = persistent_on_device(graph);
  const std::vector<std::vector<int>> users = ir::users(graph);
  std::vector<Group> groups;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const ir::Node& node = graph.nodes()[i];
    if (!can_join(graph, node, persistent, users)) continue;
    const auto takes = [&](Group& group) { return joins(group, graph, i); };
    if (std::none_of(groups.begin(), groups.end(), takes)) takes(groups.emplace_back());
  }
  std::vector<JoinedNodes> all;
  for (const Group& group : groups) {
    if (group.nodes.size() > 1) all.push_back({group.nodes, joined(graph, group)});
  }
  return join_nodes(std::move(graph), std::move(all));
}

}  // namespace bessemer::passes
