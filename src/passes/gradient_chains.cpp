#include "passes/gradient_chains.h"

#include <vector>

#include "passes/rewrite.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

std::size_t index(ValueId value) { return static_cast<std::size_t>(value); }

bool is_weight_gradient(const ir::Node& matmul) {
  const auto has = [&](std::size_t i) {
    return i < matmul.operands.size() && matmul.operands[i] != kAbsent;
  };
  return matmul.attributes.boolean("transpose_a", false) &&
         !matmul.attributes.boolean("transpose_b", false) && !has(2) &&
         matmul.attributes.text("activation", "none") == "none";
}

ValueId addend_of(const ir::Node& node, const Sum& sum) {
  const auto i = static_cast<std::size_t>(sum.addend);
  return i < node.operands.size() ? node.operands[i] : kAbsent;
}

}  // namespace

Sum sum_of(const ir::Node& node) {
  if (node.op == "matmul" && is_weight_gradient(node)) return {0, 3};
  if (node.op == "linear_cross_entropy_train") return {2, 4};
  if (node.op == "embedding_grad") return {0, 2};
  return {};
}

GradientChains gradient_chains(const ir::Graph& graph,
                               const std::function<bool(const ir::Input& gradient)>& wanted) {
  const std::vector<int> made_by = ir::producers(graph);
  const std::vector<int> uses = use_counts(graph);
  GradientChains chains;
  for (const ir::Output& output : graph.outputs()) {
    if (output.kind != ir::Output::Kind::write) continue;
    const ir::Input& gradient = *graph.find_input(output.name);
    if (gradient.role != ir::Role::gradient || !wanted(gradient)) continue;
    GradientChains chain;
    ValueId value = output.value;
    while (value != kAbsent && value != gradient.value) {
      const int made = made_by[index(value)];
      if (made < 0 || uses[index(value)] != 1) break;
      const ir::Node& node = graph.nodes()[static_cast<std::size_t>(made)];
      const Sum sum = sum_of(node);
      if (sum.result < 0 || node.results[static_cast<std::size_t>(sum.result)] != value ||
          graph.type(value) != graph.type(gradient.value)) {
        break;
      }
      chain[value] = gradient.value;
      value = addend_of(node, sum);
    }
    const bool from_itself = value == gradient.value && uses[index(value)] == 1;
    const bool from_nothing = value == kAbsent && uses[index(gradient.value)] == 0;
    if (from_itself || from_nothing) chains.merge(chain);
  }
  return chains;
}

}  // namespace bessemer::passes
