// Recomputation: where clones go, what the policies keep, and that no bit of a step changes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "ir/text.h"
#include "passes/pipeline.h"
#include "passes/recompute.h"
#include "support/model_inputs.h"

namespace bessemer::passes {
namespace {

using bessemer::testing::KernelChoice;
using Policy = RecomputePolicy;

ir::ValueId value_named(const ir::Graph& graph, std::string_view name) {
  for (std::size_t i = 0; i < graph.values().size(); ++i) {
    if (graph.values()[i].name == name) return static_cast<ir::ValueId>(i);
  }
  fail("no value %{}", name);
}

constexpr const char* kSmall = R"(graph small
data %x: fp32[4,8] "x"
data %scale: fp32[] "loss_scale"
data %counter: int64[3] "counter"
parameter %w: fp32[8,8] "w"
gradient %g: fp32[8,8] "gradient.w"
%d: fp32[4,8] = dropout(%x, %counter) {probability=0.5, site=7}   # a
%a: fp32[4,8] = silu(%d)   # a
%flat: fp32[32] = reshape(%a) {shape=[32]}   # a
%rows: fp32[4,8] = reshape(%flat) {shape=[4,8]}   # a.gradient
%m: fp32[4,8] = matmul(%a, %w)   # b
%loss: fp32[] = reduce_sum(%m) {dims=[0,1]}   # b
%dm: fp32[4,8] = broadcast(%scale) {dims=[0,1], shape=[4,8]}   # b.gradient
%dw: fp32[8,8] = matmul(%rows, %dm) {transpose_a=true}   # b.gradient
%da: fp32[4,8] = silu_grad(%dm, %d)   # a.gradient
return "loss" %loss
return "dx" %da
write "gradient.w" %dw
)";

TEST(Recompute, PutsEachCloneBeforeItsFirstUse) {
  const ir::Graph graph = ir::parse(kSmall);
  Kept kept = Stash(graph).everything();
  kept[static_cast<std::size_t>(value_named(graph, "d"))] = false;
  kept[static_cast<std::size_t>(value_named(graph, "a"))] = false;
  EXPECT_EQ(ir::print(recompute(graph, kept)), R"(graph small
data %x: fp32[4,8] "x"
data %scale: fp32[] "loss_scale"
data %counter: int64[3] "counter"
parameter %w: fp32[8,8] "w"
gradient %g: fp32[8,8] "gradient.w"
%d: fp32[4,8] = dropout(%x, %counter) {probability=0.5, site=7}   # a
%a: fp32[4,8] = silu(%d)   # a
%m: fp32[4,8] = matmul(%a, %w)   # b
%loss: fp32[] = reduce_sum(%m) {dims=[0,1]}   # b
%dm: fp32[4,8] = broadcast(%scale) {dims=[0,1], shape=[4,8]}   # b.gradient
%d.again: fp32[4,8] = dropout(%x, %counter) {probability=0.5, site=7}   # a.recompute
%a.again: fp32[4,8] = silu(%d.again)   # a.recompute
%flat.again: fp32[32] = reshape(%a.again) {shape=[32]}   # a.recompute
%rows.again: fp32[4,8] = reshape(%flat.again) {shape=[4,8]}   # a.gradient.recompute
%dw: fp32[8,8] = matmul(%rows.again, %dm) {transpose_a=true}   # b.gradient
%da: fp32[4,8] = silu_grad(%dm, %d.again)   # a.gradient
return "loss" %loss
return "dx" %da
write "gradient.w" %dw
)");
}

TEST(Recompute, ClonesOnlyWhatIsAskedFor) {
  const ir::Graph graph = ir::parse(kSmall);
  const Stash stash(graph);
  Kept kept = stash.everything();
  kept[static_cast<std::size_t>(value_named(graph, "d"))] = false;
  const ir::Graph after = recompute(graph, kept);
  EXPECT_EQ(after.nodes().size(), graph.nodes().size() + 1);  // `a` stays
  const Stash::Demand demand = stash.demand(kept);
  EXPECT_EQ(demand.recomputed, std::vector<int>{0});
  EXPECT_EQ(demand.stashed, std::vector{value_named(graph, "a")});
  EXPECT_EQ(stash.bytes(demand), 4u * 8 * 4);
  EXPECT_EQ(ir::print(recompute(graph, stash.everything())), ir::print(graph));
  EXPECT_THROW(recompute(graph, Kept(3)), Error);
}

TEST(Recompute, LeavesGraphsWithoutBackwardAsTheyAre) {
  const ir::Graph graph = models::loss_graph(bessemer::testing::tiny_gpt2(), {2, 6});
  EXPECT_TRUE(Stash(graph).waists().size() > 2);
  EXPECT_EQ(ir::print(recompute(graph, Policy::full)), ir::print(graph));
}

// Found from the graph alone: what enters and leaves the attention and the MLP of each layer.
TEST(Stash, WaistsAreTheResidualStream) {
  const auto labels = [](const models::Architecture& model) {
    Runner runner;
    const ir::Graph graph =
        compile_step(models::loss_graph(model, {2, 6}), std::nullopt, {}, runner).accumulate_first;
    const Stash stash(graph);
    std::string all;
    for (const ir::ValueId v : stash.waists()) {
      all += graph.nodes()[static_cast<std::size_t>(stash.made_by(v))].label + " ";
    }
    return all;
  };
  const std::string layers =
      "layers.0.attention layers.0.mlp layers.1.attention layers.1.mlp norm ";
  EXPECT_EQ(labels(bessemer::testing::tiny_llama()), "embedding " + layers);
  EXPECT_EQ(labels(bessemer::testing::tiny_gpt2()), "embedding embedding " + layers);
}

struct Model {
  const char* name;
  models::Architecture (*make)();
  double dropout;
  Recipe recipe;
};

class Policies : public ::testing::TestWithParam<Model> {
 protected:
  StepGraphs compile(Policy policy) const {
    models::Architecture model = GetParam().make();
    model.dropout = GetParam().dropout;
    StepOptions options;
    options.precision = GetParam().recipe;
    options.accumulates = true;
    options.recompute = policy;
    Runner runner;
    return compile_step(models::loss_graph(model, {2, 6}), std::nullopt, options, runner);
  }
};

// Losses and gradients of a first and of a further micro-batch, bit by bit.
TEST_P(Policies, ChangeNoBit) {
  const StepGraphs none = compile(Policy::none);
  const auto inputs = [](const ir::Graph& graph) {
    return bessemer::testing::values_for(graph, 11, 5);
  };
  for (const Policy policy : {Policy::selective, Policy::full}) {
    const StepGraphs step = compile(policy);
    for (const auto& [before, after] : {std::pair(&none.accumulate_first, &step.accumulate_first),
                                        std::pair(&*none.accumulate, &*step.accumulate)}) {
      EXPECT_GT(after->nodes().size(), before->nodes().size());
      const auto expected = run_graph(*before, inputs(*before), KernelChoice::first_accepting);
      const auto results = run_graph(*after, inputs(*after), KernelChoice::first_accepting);
      ASSERT_EQ(results.size(), expected.size());
      for (const auto& [name, value] : expected) {
        EXPECT_TRUE(same_bits(results.at(name), value)) << name;
      }
    }
  }
}

// Fewer bytes from one policy to the next, nothing expensive again, and layer inputs alone.
TEST_P(Policies, KeepWhatTheySay) {
  const ir::Graph graph = compile(Policy::none).accumulate_first;
  const Stash stash(graph);
  const auto kept = [&](Policy policy) { return stash.demand(kept_by(policy, graph)); };
  const Stash::Demand none = kept(Policy::none), selective = kept(Policy::selective),
                      full = kept(Policy::full);
  EXPECT_TRUE(none.recomputed.empty());
  EXPECT_GT(stash.bytes(none), stash.bytes(selective));
  EXPECT_GT(stash.bytes(selective), stash.bytes(full));
  for (const int i : selective.recomputed) {  // nothing expensive
    const std::string& op = graph.nodes()[static_cast<std::size_t>(i)].op;
    EXPECT_TRUE(op != "matmul" && op != "attention") << op;
  }
  // Layer inputs only: the residual stream before each of the two layers and after the last.
  ASSERT_EQ(full.stashed.size(), 3u);
  for (const ir::ValueId v : full.stashed) EXPECT_EQ(graph.type(v).shape, (Shape{2, 6, 8}));
}

INSTANTIATE_TEST_SUITE_P(
    Models, Policies,
    ::testing::Values(Model{"gpt2_fp32", bessemer::testing::tiny_gpt2, 0, Recipe::fp32},
                      Model{"gpt2_bf16", bessemer::testing::tiny_gpt2, 0, Recipe::bf16},
                      Model{"gpt2_dropout_fp32", bessemer::testing::tiny_gpt2, 0.2, Recipe::fp32},
                      Model{"gpt2_dropout_bf16", bessemer::testing::tiny_gpt2, 0.2, Recipe::bf16},
                      Model{"llama_fp32", bessemer::testing::tiny_llama, 0, Recipe::fp32},
                      Model{"llama_bf16", bessemer::testing::tiny_llama, 0, Recipe::bf16},
                      Model{"llama_dropout_bf16", bessemer::testing::tiny_llama, 0.2,
                            Recipe::bf16}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace bessemer::passes
