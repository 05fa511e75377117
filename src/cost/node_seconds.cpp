#include "cost/node_seconds.h"

#include "ops/op.h"

namespace bessemer::cost {
namespace {

double transfer(const ir::Graph& graph, ir::ValueId moved, ir::Tier tier, Direction direction,
                const MachineDescription& machine) {
  return transfer_seconds(static_cast<double>(graph.type(moved).bytes()), tier, direction, machine);
}

}  // namespace

double node_seconds(const ir::Graph& graph, const ir::Node& node,
                    const MachineDescription& machine) {
  if (node.op == "fetch" && graph.tier(node.operands[0]) != ir::Tier::device) {
    return transfer(graph, node.results[0], graph.tier(node.operands[0]), Direction::to_device,
                    machine);
  }
  if (node.op == "store" && graph.tier(node.results[0]) != ir::Tier::device) {
    return transfer(graph, node.operands[0], graph.tier(node.results[0]), Direction::from_device,
                    machine);
  }
  const ops::OpDefinition& op = ops::definition_of(node.op);
  if (op.is_view) return 0;
  const ops::OpUse use = ops::use_of(graph, node);
  std::vector<TensorType> results;
  for (const ir::ValueId result : node.results) results.push_back(graph.type(result));
  return predicted_seconds(use, op.work(use, results), machine);
}

std::vector<double> node_seconds(const ir::Graph& graph, const MachineDescription& machine) {
  std::vector<double> seconds;
  seconds.reserve(graph.nodes().size());
  for (const ir::Node& node : graph.nodes()) seconds.push_back(node_seconds(graph, node, machine));
  return seconds;
}

}  // namespace bessemer::cost
