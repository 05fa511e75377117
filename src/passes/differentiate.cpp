#include "passes/differentiate.h"

#include "base/error.h"
#include "ops/builder.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

// Values that depend on a parameter: only along these does a gradient have to flow.
std::vector<bool> depends_on_parameter(const ir::Graph& graph) {
  std::vector<bool> depends(graph.values().size(), false);
  for (const ir::Input& input : graph.inputs()) {
    if (input.role == ir::Role::parameter) depends[static_cast<std::size_t>(input.value)] = true;
  }
  for (const ir::Node& node : graph.nodes()) {
    bool any = false;
    for (const ValueId operand : node.operands) {
      any = any || (operand != kAbsent && depends[static_cast<std::size_t>(operand)]);
    }
    for (const ValueId result : node.results) depends[static_cast<std::size_t>(result)] = any;
  }
  return depends;
}

class Differentiator {
 public:
  Differentiator(ir::Graph& graph, GradientMode mode)
      : graph_(graph), mode_(mode), builder_(graph), depends_(depends_on_parameter(graph)) {
    gradients_.assign(graph.values().size(), kAbsent);
  }

  void run() {
    const ir::Output* loss = graph_.find_output("loss");
    require(loss != nullptr, "graph {} has no result \"loss\" to differentiate", graph_.name());
    const TensorType type = graph_.type(loss->value);
    require(type.rank() == 0, "the loss is {}, expected a scalar", to_string(type));
    const ValueId loss_value = loss->value;
    gradients_[index(loss_value)] = graph_.add_input(ir::Role::data, "loss_scale", type);
    const std::size_t forward_nodes = graph_.nodes().size();
    for (std::size_t i = forward_nodes; i-- > 0;) visit(graph_.nodes()[i]);
    write_parameter_gradients();
  }

 private:
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

  // By value: the builder appends to the list the node stands in.
  void visit(ir::Node node) {
    std::vector<ValueId> of_results;
    bool any = false;
    for (const ValueId result : node.results) {
      of_results.push_back(depends_[index(result)] ? gradients_[index(result)] : kAbsent);
      any = any || of_results.back() != kAbsent;
    }
    if (!any) return;
    const ops::OpDefinition& op = ops::definition_of(node.op);
    require(op.gradient != nullptr, "{} ({}) has no gradient, but the loss depends on it", node.op,
            node.label);
    builder_.set_label(node.label.empty() ? "gradient" : node.label + ".gradient");
    const std::vector<ValueId> of_operands = op.gradient(builder_, node, of_results);
    for (std::size_t i = 0; i < node.operands.size() && i < of_operands.size(); ++i) {
      if (node.operands[i] == kAbsent || !depends_[index(node.operands[i])]) continue;
      ValueId& sum = gradients_[index(node.operands[i])];
      sum = builder_.sum(sum, of_operands[i]);
    }
  }

  void write_parameter_gradients() {
    const std::vector<ir::Input> inputs = graph_.inputs();
    for (const ir::Input& input : inputs) {
      if (input.role != ir::Role::parameter) continue;
      ValueId gradient = gradients_[index(input.value)];
      require(gradient != kAbsent, "parameter {} takes no part in the loss", input.name);
      builder_.set_label(input.name);
      const std::string name = gradient_name(input.name);
      const ValueId before = graph_.add_input(ir::Role::gradient, name, graph_.type(input.value));
      if (mode_ == GradientMode::accumulate) gradient = builder_.sum(before, gradient);
      graph_.add_write(name, gradient);
    }
  }

  ir::Graph& graph_;
  GradientMode mode_;
  ops::Builder builder_;
  std::vector<bool> depends_;
  std::vector<ValueId> gradients_;  // of the forward values, kAbsent where none has come yet
};

}  // namespace

std::string gradient_name(std::string_view parameter) {
  return "gradient." + std::string(parameter);
}

ir::Graph differentiate(ir::Graph graph, GradientMode mode) {
  Differentiator(graph, mode).run();
  return ir::without_dead_nodes(std::move(graph));
}

}  // namespace bessemer::passes
