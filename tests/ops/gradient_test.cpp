// Gradients against central differences, in fp64, with the reference kernels.
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ops/builder.h"
#include "ops/cases.h"
#include "support/graph_runner.h"

namespace bessemer::testing {
namespace {

std::string name_of_operand(std::size_t i) { return fmt::format("operand.{}", i); }

// y = op(operands) and loss = sum(y * weights), whose gradient by y is `weights`.
struct Experiment {
  ir::Graph graph;
  NamedTensors inputs;
  std::vector<ir::ValueId> operands;
  ir::ValueId weights = ir::kAbsent;
};

Experiment forward(const OpCase& use) {
  Experiment experiment;
  ir::Graph& graph = experiment.graph;
  const Operands operands = use.operands(DType::fp64);
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (!operands[i]) {
      experiment.operands.push_back(ir::kAbsent);
      continue;
    }
    experiment.operands.push_back(
        graph.add_input(ir::Role::data, name_of_operand(i), operands[i]->type()));
    experiment.inputs.emplace(name_of_operand(i), *operands[i]);
  }
  ops::Builder builder(graph);
  const ir::ValueId y = builder.add(use.op, experiment.operands, use.attributes);
  const TensorType type = graph.type(y);
  experiment.weights = graph.add_input(ir::Role::data, "weights", type);
  experiment.inputs.emplace("weights", normal(type, 99));
  std::vector<std::int64_t> dims;
  for (std::int64_t d = 0; d < type.rank(); ++d) dims.push_back(d);
  const ir::ValueId product = builder.add("multiply", {y, experiment.weights});
  graph.add_result("loss", builder.add("reduce_sum", {product}, {{"dims", dims}}));
  return experiment;
}

// Outputs "gradient.I" for each operand that has one.
ir::Graph with_gradients(const Experiment& experiment) {
  ir::Graph graph = experiment.graph;
  const ir::Node node = graph.nodes().front();
  ops::Builder builder(graph);
  std::vector<ir::ValueId> result_gradients(node.results.size(), ir::kAbsent);
  result_gradients[0] = experiment.weights;
  const auto gradients = ops::definition_of(node.op).gradient(builder, node, result_gradients);
  EXPECT_EQ(gradients.size(), node.operands.size());
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (gradients[i] != ir::kAbsent) {
      graph.add_result(fmt::format("gradient.{}", i), gradients[i]);
    }
  }
  ops::verify(graph);
  return graph;
}

double difference(const Experiment& experiment, const std::string& name, std::int64_t element) {
  constexpr double step = 1e-5;
  double loss[2] = {};
  for (const int side : {0, 1}) {
    NamedTensors inputs = experiment.inputs;
    Tensor& x = inputs.at(name);
    x.set(element, x.get(element) + (side == 0 ? -step : step));
    loss[side] = run_graph(experiment.graph, inputs).at("loss").get(0);
  }
  return (loss[1] - loss[0]) / (2 * step);
}

void check_operand(const Experiment& experiment, std::size_t i, const NamedTensors& gradients) {
  const Tensor& x = experiment.inputs.at(name_of_operand(i));
  const auto at = gradients.find(fmt::format("gradient.{}", i));
  if (!is_floating(x.type().dtype)) {
    EXPECT_EQ(at, gradients.end()) << "operand " << i << " is not differentiable";
    return;
  }
  ASSERT_NE(at, gradients.end()) << "operand " << i << " has no gradient";
  ASSERT_EQ(at->second.type(), x.type()) << "operand " << i;
  const std::int64_t stride = std::max<std::int64_t>(1, x.size() / 12);
  for (std::int64_t e = 0; e < x.size(); e += stride) {
    const double expected = difference(experiment, name_of_operand(i), e);
    EXPECT_NEAR(at->second.get(e), expected, 2e-7 * std::max(1.0, std::abs(expected)))
        << "operand " << i << ", element " << e;
  }
}

// Differences of what is rounded to fewer bits are noise; gradients of a fused epilogue are
// refused.
bool can_be_differenced(const OpCase& use) {
  if (ops::definition_of(use.op).gradient == nullptr) return false;
  if (use.attributes.text("activation", "none") != "none") return false;
  const Operands operands = use.operands(DType::fp64);
  return infer_types(use.op, operands, use.attributes)[0].dtype == DType::fp64;
}

TEST(Gradient, EqualsCentralDifferences) {
  std::set<std::string_view> tested;
  for (const OpCase& use : all_cases()) {
    if (!can_be_differenced(use)) continue;
    SCOPED_TRACE(use.describe(DType::fp64));
    tested.insert(use.op);
    const Experiment experiment = forward(use);
    const NamedTensors gradients = run_graph(with_gradients(experiment), experiment.inputs);
    for (std::size_t i = 0; i < experiment.operands.size(); ++i) {
      if (experiment.operands[i] != ir::kAbsent) check_operand(experiment, i, gradients);
    }
  }
  for (const ops::OpDefinition& op : ops::all_ops()) {
    EXPECT_EQ(tested.contains(op.name), op.gradient != nullptr) << op.name;
  }
}

// In bf16 too the gradient graphs must be well typed, with sums for parameters in fp32.
TEST(Gradient, IsWellTypedInEveryDType) {
  for (const OpCase& use : all_cases()) {
    if (!can_be_differenced(use)) continue;
    for (const DType dtype : {DType::fp32, DType::bf16}) {
      SCOPED_TRACE(use.describe(dtype));
      ir::Graph graph;
      std::vector<ir::ValueId> operands;
      for (const auto& operand : use.operands(dtype)) {
        operands.push_back(
            operand
                ? graph.add_input(ir::Role::data, name_of_operand(operands.size()), operand->type())
                : ir::kAbsent);
      }
      ops::Builder builder(graph);
      const ir::ValueId y = builder.add(use.op, operands, use.attributes);
      const ir::Node node = graph.nodes().front();
      std::vector<ir::ValueId> dy(node.results.size(), ir::kAbsent);
      dy[0] = graph.add_input(ir::Role::data, "dy", graph.type(y));
      const auto gradients = ops::definition_of(use.op).gradient(builder, node, dy);
      ops::verify(graph);
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        if (gradients[i] == ir::kAbsent) continue;
        EXPECT_EQ(graph.type(gradients[i]).shape, graph.type(node.operands[i]).shape) << i;
      }
    }
  }
}

TEST(Gradient, RefusesWhatItDoesNotKnow) {
  ir::Graph graph;
  ops::Builder builder(graph);
  const ir::ValueId x = graph.add_input(ir::Role::data, "x", {DType::fp32, {4, 8}});
  const ir::ValueId w = graph.add_input(ir::Role::parameter, "w", {DType::fp32, {8, 8}});
  const ir::ValueId gain = graph.add_input(ir::Role::parameter, "gain", {DType::fp32, {8}});
  builder.add("matmul", {x, w}, {{"activation", std::string("silu")}});
  const ir::Node matmul = graph.nodes().back();
  const std::vector<ir::ValueId> dy{matmul.results[0]};
  EXPECT_THROW(ops::definition_of("matmul").gradient(builder, matmul, dy), Error);

  const auto normed = builder.all("rms_norm", {x, gain}, {{"epsilon", 1e-5}});
  const ir::Node norm = graph.nodes().back();
  const std::vector<ir::ValueId> through_rstd{normed[0], normed[1]};
  EXPECT_THROW(ops::definition_of("rms_norm").gradient(builder, norm, through_rstd), Error);
  const std::vector<ir::ValueId> nothing{ir::kAbsent, ir::kAbsent};
  for (const ir::ValueId g : ops::definition_of("rms_norm").gradient(builder, norm, nothing)) {
    EXPECT_EQ(g, ir::kAbsent);
  }
}

}  // namespace
}  // namespace bessemer::testing
