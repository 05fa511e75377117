#include "passes/join_adds.h"

#include <string>
#include <utility>

#include <fmt/format.h>

#include "passes/rewrite.h"

namespace bessemer::passes {
namespace {

constexpr std::size_t kMostWaiting = std::size_t{1} << 20;  // bytes of what a node adds
constexpr std::size_t kMost = 1024;                         // sums of a node

struct Group {
  std::vector<std::size_t> nodes;
  std::size_t bytes = 0;
};

std::size_t added_bytes(const ir::Graph& graph, const ir::Node& node) {
  return graph.type(node.operands[1]).bytes();
}

bool can_join(const ir::Graph& graph, const ir::Node& node, const std::vector<bool>& persistent,
              const std::vector<std::vector<int>>& users) {
  if (node.op != "add" || !persistent[static_cast<std::size_t>(node.operands[0])]) return false;
  const TensorType& type = graph.type(node.results[0]);
  return type.dtype == DType::fp32 && graph.type(node.operands[1]) == type &&
         users[static_cast<std::size_t>(node.results[0])].empty() &&
         added_bytes(graph, node) <= kMostWaiting;
}

ir::Node joined(const ir::Graph& graph, const std::vector<std::size_t>& nodes) {
  ir::Node all;
  all.op = "add_all";
  all.label = fmt::format("{} gradients", nodes.size());
  for (const std::size_t i : nodes) {
    const ir::Node& node = graph.nodes()[i];
    all.operands.insert(all.operands.end(), node.operands.begin(), node.operands.end());
    all.results.push_back(node.results[0]);
  }
  return all;
}

}  // namespace

ir::Graph join_adds(ir::Graph graph) {
  const std::vector<bool> persistent = persistent_on_device(graph);
  const std::vector<std::vector<int>> users = ir::users(graph);
  std::vector<Group> groups(1);
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const ir::Node& node = graph.nodes()[i];
    if (!can_join(graph, node, persistent, users)) continue;
    const std::size_t bytes = added_bytes(graph, node);
    const bool full =
        groups.back().nodes.size() == kMost || groups.back().bytes + bytes > kMostWaiting;
    if (full) groups.emplace_back();
    groups.back().nodes.push_back(i);
    groups.back().bytes += bytes;
  }
  std::vector<JoinedNodes> all;
  for (const Group& group : groups) {
    if (group.nodes.size() > 1) all.push_back({group.nodes, joined(graph, group.nodes)});
  }
  return join_nodes(std::move(graph), std::move(all));
}

}  // namespace bessemer::passes
