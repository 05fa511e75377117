#include "passes/collect_amax.h"

#include "base/error.h"
#include "ops/op.h"
#include "passes/set_fp8.h"
#include "passes/splice.h"

namespace bessemer::passes {

ir::Graph collect_amax(ir::Graph graph, GradientMode mode) {
  using ir::kAbsent;
  const ir::Input* known = graph.find_input(kFp8Amax);
  require(known != nullptr, "graph {} has no {}", graph.name(), kFp8Amax);
  const TensorType type = graph.type(known->value);
  const std::int64_t tensors = type.dim(0);
  // What was collected before, and then a number for each tensor.
  std::vector<ir::ValueId> operands(static_cast<std::size_t>(tensors) + 1, kAbsent);
  for (ir::Node& node : graph.nodes()) {
    if (node.op != "quantize_fp8" || node.operands.back() != known->value) continue;
    const auto indices = node.attributes.integers("indices");
    const auto amax_of = [&](std::int64_t i) -> ir::ValueId& {
      return operands.at(static_cast<std::size_t>(i) + 1);
    };
    if (amax_of(indices.front()) != kAbsent) continue;
    node.attributes.set("measure", true);
    const TensorType of_tiles = ops::definition_of(node.op).infer(ops::use_of(graph, node)).back();
    for (const std::int64_t index : indices) {
      amax_of(index) = graph.add_value("amax", of_tiles);
      node.results.push_back(amax_of(index));
    }
  }
  Splicer splicer(std::move(graph));
  if (mode == GradientMode::accumulate) {
    operands[0] = splicer.input(ir::Role::gradient, kStepAmax, type);
  }
  const Attributes attributes{{"size", tensors}};
  const auto collected = splicer.insert(0, "collect_amax", std::move(operands), attributes, "fp8");
  splicer.write(ir::Role::gradient, kStepAmax, collected.front());
  return splicer.finish();
}

}  // namespace bessemer::passes
