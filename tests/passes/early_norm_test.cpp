// The norm of a step's gradients, taken by its last micro-batch. Its bits:
// tests/train/offload_test.
#include "passes/early_norm.h"

#include <gtest/gtest.h>

#include "models/model.h"
#include "ops/op.h"
#include "passes/merged_step.h"
#include "passes/pipeline.h"
#include "passes/step_programs.h"
#include "support/model_inputs.h"

namespace bessemer::passes {
namespace {

std::size_t count(const ir::Graph& graph, std::string_view op) {
  std::size_t nodes = 0;
  for (const ir::Node& node : graph.nodes()) nodes += node.op == op ? 1 : 0;
  return nodes;
}

StepGraphs step(bool accumulates) {
  StepOptions options;
  options.accumulates = accumulates;
  Runner runner;
  return compile_step(models::loss_graph(bessemer::testing::tiny_llama(), {2, 4}), std::nullopt,
                      options, runner);
}

TEST(EarlyNorm, IsWrittenByTheLastMicroBatchAndReadByTheUpdate) {
  const StepGraphs graphs = step(true);
  const ir::Graph last = early_norm(*graphs.accumulate, graphs.update);
  ops::verify(last);
  EXPECT_EQ(last.name(), "accumulate_last");
  EXPECT_NE(last.find_output(kStepNorm), nullptr);
  std::size_t gradients = 0;
  for (const ir::Output& output : graphs.accumulate->outputs()) {
    gradients += output.name.starts_with("gradient.") ? 1 : 0;
  }
  EXPECT_EQ(count(last, "sum_of_squares"), gradients);

  const ir::Graph update = update_after_norm(graphs.update);
  ops::verify(update);
  EXPECT_EQ(count(update, "global_norm"), 0u);
  EXPECT_EQ(update.nodes().size() + 1, graphs.update.nodes().size());
  EXPECT_EQ(update.find_output("gradient_norm")->value, update.find_input(kStepNorm)->value);
}

TEST(EarlyNorm, HasAProgramOfItsOwnForTheLastMicroBatchAlone) {
  const auto names = [](std::int64_t micro_batches) {
    Runner runner;
    const StepPrograms programs =
        step_programs(step(micro_batches > 1), {.micro_batches = micro_batches, .early_norm = true},
                      cost::describe_here(), runner);
    std::vector<std::string> all;
    for (const ir::Graph& graph : programs.graphs) {
      if (graph.name() != "refresh") all.push_back(graph.name());
    }
    return all;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names(1), (Names{"accumulate_last", "update"}));
  EXPECT_EQ(names(2), (Names{"accumulate_first", "accumulate_last", "update"}));
  EXPECT_EQ(names(3), (Names{"accumulate_first", "accumulate", "accumulate_last", "update"}));
}

}  // namespace
}  // namespace bessemer::passes
