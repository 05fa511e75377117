// What a step's micro-batches collect for delayed scaling, and what the update makes of it.
#include "passes/collect_amax.h"

#include <cmath>

#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/op.h"
#include "passes/add_optimizer.h"
#include "passes/set_fp8.h"
#include "support/graph_runner.h"

namespace bessemer::passes {
namespace {

using bessemer::testing::NamedTensors;
using bessemer::testing::of;

// The second tensor is quantized again for backward; of the third there is none.
constexpr const char* kBefore = R"(graph step
data %x: fp32[2,2] "x"
data %y: fp32[2,2] "y"
optimizer %amax: fp32[3] "fp8.amax"
%quantize_fp8: fp8_e4m3[2,2], %quantize_fp8_1: fp32[] = quantize_fp8(%x, %amax) {block="tensor", format="e4m3", indices=[0]}
%quantize_fp8_2: fp8_e4m3[2,2], %quantize_fp8_3: fp32[] = quantize_fp8(%y, %amax) {block="tensor", format="e4m3", indices=[1]}
%again: fp8_e4m3[2,2], %again_1: fp32[] = quantize_fp8(%y, %amax) {block="tensor", format="e4m3", indices=[1]}
return "scale" %quantize_fp8_1
return "other" %quantize_fp8_3
return "again" %again_1
)";

NamedTensors inputs_with(double largest_of_y) {
  const TensorType matrix{DType::fp32, {2, 2}}, tensors{DType::fp32, {3}};
  NamedTensors inputs;
  inputs.emplace("x", of(matrix, {1, -2, 0.5, 0}));
  inputs.emplace("y", of(matrix, {0, 3, largest_of_y, 1}));
  inputs.emplace("fp8.amax", of(tensors, {1, 1, 1}));
  inputs.emplace("step.amax", of(tensors, {5, 3.5, 0}));
  return inputs;
}

std::vector<double> collected(GradientMode mode, double largest_of_y) {
  const ir::Graph graph = collect_amax(ir::parse(kBefore), mode);
  ops::verify(graph);
  const testing::Tensor all = run_graph(graph, inputs_with(largest_of_y)).at("step.amax");
  return {all.get(0), all.get(1), all.get(2)};
}

TEST(CollectAmax, TakesWhatEachTensorReaches) {
  EXPECT_EQ(collected(GradientMode::overwrite, -4), (std::vector<double>{2, 4, 0}));
  EXPECT_EQ(collected(GradientMode::accumulate, -4), (std::vector<double>{5, 4, 0}));
  EXPECT_EQ(collected(GradientMode::accumulate, INFINITY)[1], INFINITY);
  EXPECT_TRUE(std::isnan(collected(GradientMode::accumulate, NAN)[1]));
}

TEST(CollectAmax, MeasuresWhatIsQuantizedTwiceOnce) {
  const ir::Graph graph = collect_amax(ir::parse(kBefore), GradientMode::overwrite);
  std::vector<bool> measured;
  for (const ir::Node& node : graph.nodes()) {
    if (node.op == "quantize_fp8") measured.push_back(node.attributes.boolean("measure", false));
  }
  EXPECT_EQ(measured, (std::vector<bool>{true, true, false}));
}

// A step that is skipped leaves no trace; an amax that is not finite makes it be skipped.
TEST(CollectAmax, TheUpdateKeepsWhatGoodStepsReached) {
  const ir::Graph step = ir::parse(R"(graph step
parameter %w: fp32[2] "w"
gradient %w_1: fp32[2] "gradient.w"
optimizer %amax: fp32[2] "fp8.amax"
return "amax" %amax
)");
  const ir::Graph update = add_optimizer(step, {});
  ops::verify(update);
  NamedTensors state;
  for (const ir::Input& input : update.inputs()) {
    state.emplace(input.name, testing::Tensor(update.type(input.value)));
  }
  const TensorType tensors{DType::fp32, {2}};
  const auto amax_after = [&](double first, double second) {
    state.at("step.amax") = of(tensors, {first, second});
    for (const auto& [name, value] : run_graph(update, state)) state.insert_or_assign(name, value);
    return std::pair(state.at(kFp8Amax).get(0), state.at(kFp8Amax).get(1));
  };
  EXPECT_EQ(amax_after(2, 0.5), std::pair(2.0, 0.5));
  EXPECT_EQ(amax_after(1, 3), std::pair(2.0, 3.0));
  EXPECT_EQ(amax_after(9, INFINITY), std::pair(2.0, 3.0));
  EXPECT_TRUE(std::isnan(state.at("coefficient").get(0)));
  for (int i = 0; i < 15; ++i) EXPECT_EQ(amax_after(1, 1), std::pair(i < 14 ? 2.0 : 1.0, 3.0)) << i;
  EXPECT_EQ(amax_after(1, 1), std::pair(1.0, 1.0)) << "16 steps are looked at";
}

}  // namespace
}  // namespace bessemer::passes
