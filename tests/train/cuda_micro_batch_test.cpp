// Micro-batches of a model on a CUDA device, or the null device: what the passes for devices alone
// make of them is held against graphs without those passes.
#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "cost/cuda_devices.h"
#include "passes/join_adds.h"
#include "passes/pipeline.h"
#include "support/cuda_test.h"
#include "support/model_inputs.h"
#include "support/planned.h"

namespace bessemer::testing {
namespace {

constexpr std::int64_t kVocabulary = 11;

/// Graphs of the first micro-batch and of the later ones.
using MicroBatches = std::vector<ir::Graph>;

MicroBatches micro_batches(const models::Architecture& model, passes::StepOptions options) {
  options.accumulates = true;
  passes::Runner runner;
  passes::StepGraphs step =
      passes::compile_step(models::loss_graph(model, {2, 6}), std::nullopt, options, runner);
  return {std::move(step.accumulate_first), std::move(*step.accumulate)};
}

std::span<std::byte> bytes_of(Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data()), tensor.type().bytes()};
}

/// The gradients and the loss after one first and two later micro-batches.
NamedTensors run_all(const MicroBatches& graphs) {
  const plan::Plan plan = plan::make_plan(
      {&graphs[0], &graphs[1]}, cost::assumed_cuda_machine("h100", cost::describe_here()));
  runtime::ExecutorOptions options;
  options.cuda_device = new_cuda_device();
  const runtime::Executor executor(plan, options);
  for (const plan::CatalogEntry& entry : plan.catalog) {
    Tensor value = value_for({ir::kAbsent, entry.role, entry.name}, entry.type, kVocabulary, 1);
    executor.write(entry.name, bytes_of(value));
  }
  for (const std::size_t which : {0, 1, 1}) {
    const ir::Graph& graph = graphs[which];
    for (const ir::Input& input : graph.inputs()) {
      if (input.role != ir::Role::data) continue;
      set_bytes(executor.data(graph.name(), input.name),
                value_for(input, graph.type(input.value), kVocabulary, which));
    }
    executor.run(graph.name());
  }
  NamedTensors after;
  for (const plan::CatalogEntry& entry : plan.catalog) {
    Tensor value(entry.type);
    executor.read(entry.name, bytes_of(value));
    after.emplace(entry.name, std::move(value));
  }
  return after;
}

using CudaMicroBatches = CudaTest;

TEST_F(CudaMicroBatches, JoinedAddsChangeNoBit) {
  for (const auto& model : {tiny_gpt2(), tiny_llama()}) {
    MicroBatches graphs = micro_batches(model, {.device = kernels::Backend::cuda});
    const NamedTensors expected = run_all(graphs);
    const std::size_t nodes = graphs[1].nodes().size();
    for (ir::Graph& graph : graphs) graph = passes::join_adds(std::move(graph));
    EXPECT_LT(graphs[1].nodes().size(), nodes);
    for (const auto& [name, value] : run_all(graphs)) {
      EXPECT_TRUE(same_bits(value, expected.at(name))) << name;
    }
  }
}

std::size_t count(const ir::Graph& graph, std::string_view op) {
  return static_cast<std::size_t>(std::ranges::count(graph.nodes(), op, &ir::Node::op));
}

// As for a processor, but for the order of sums and what an epilogue does not round.
TEST_F(CudaMicroBatches, BiasGradientsOfProductsAreTheSums) {
  const std::map<passes::Recipe, double> tolerances{
      {passes::Recipe::fp32, 1e-5}, {passes::Recipe::tf32, 2e-3}, {passes::Recipe::bf16, 2e-2}};
  for (const auto& [recipe, tolerance] : tolerances) {
    const MicroBatches apart = micro_batches(tiny_gpt2(), {.precision = recipe});
    const MicroBatches fused =
        micro_batches(tiny_gpt2(), {.precision = recipe, .device = kernels::Backend::cuda});
    for (const std::size_t g : {0, 1}) {
      EXPECT_EQ(count(apart[g], "reduce_sum"), 12u) << "six biases a layer";
      EXPECT_EQ(count(fused[g], "reduce_sum"), recipe == passes::Recipe::tf32 ? 12u : 0u);
    }
    const NamedTensors expected = run_all(apart);
    for (const auto& [name, value] : run_all(fused)) {
      EXPECT_LE(relative_difference(value, expected.at(name)), tolerance) << name;
    }
  }
}

}  // namespace
}  // namespace bessemer::testing
