// The stash in 8 bits: where nodes go, that losses keep every bit and gradients most of theirs, and
// that no recomputation changes either.
#include <cmath>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ir/text.h"
#include "passes/pipeline.h"
#include "passes/recompute_frontier.h"
#include "support/model_inputs.h"
#include "support/training_graph.h"

namespace bessemer::passes {
namespace {

using bessemer::testing::KernelChoice;
using bessemer::testing::NamedTensors;
using bessemer::testing::Tensor;
using Policy = RecomputePolicy;

// %m is used by two nodes of forward; after the turn by a clone of %s, by its gradient, and twice
// through a view.
TEST(CompressStash, QuantizesBeforeTheLastUseAndRestoresBeforeEachUse) {
  const ir::Graph graph = ir::parse(R"(graph small
data %x: fp32[4,40] "x"
data %scale: fp32[] "loss_scale"
parameter %w: fp32[40,40] "w"
gradient %g: fp32[40,40] "gradient.w"
%m: fp32[4,40] = matmul(%x, %w)   # a
%s: fp32[4,40] = silu(%m)   # a
%flat: fp32[160] = reshape(%s) {shape=[160]}   # a
%n: fp32[4,40] = matmul(%s, %w, _, %m)   # b
%loss: fp32[] = reduce_sum(%n) {dims=[0,1]}   # b
%dn: fp32[4,40] = broadcast(%scale) {dims=[0,1], shape=[4,40]}   # b.gradient
%rows: fp32[4,40] = reshape(%flat) {shape=[4,40]}   # b.gradient
%dw: fp32[40,40] = matmul(%rows, %dn) {transpose_a=true}   # b.gradient
%long: fp32[160] = reshape(%m) {shape=[160]}   # a.gradient
%ds: fp32[4,40] = silu_grad(%dn, %m)   # a.gradient
%square: fp32[160] = multiply(%long, %long)   # a.gradient
return "loss" %loss
return "dx" %ds
return "square" %square
write "gradient.w" %dw
)");
  EXPECT_EQ(ir::print(compress_stash(graph)), R"(graph small
data %x: fp32[4,40] "x"
data %scale: fp32[] "loss_scale"
parameter %w: fp32[40,40] "w"
gradient %g: fp32[40,40] "gradient.w"
%m: fp32[4,40] = matmul(%x, %w)   # a
%s: fp32[4,40] = silu(%m)   # a
%m.int8: int8[4,42] = quantize_blocks(%m)   # a
%n: fp32[4,40] = matmul(%s, %w, _, %m)   # b
%loss: fp32[] = reduce_sum(%n) {dims=[0,1]}   # b
%dn: fp32[4,40] = broadcast(%scale) {dims=[0,1], shape=[4,40]}   # b.gradient
%m.restored: fp32[4,40] = dequantize_blocks(%m.int8) {dtype="fp32"}   # a
%s.again: fp32[4,40] = silu(%m.restored)   # a.recompute
%flat.again: fp32[160] = reshape(%s.again) {shape=[160]}   # a.recompute
%rows: fp32[4,40] = reshape(%flat.again) {shape=[4,40]}   # b.gradient
%dw: fp32[40,40] = matmul(%rows, %dn) {transpose_a=true}   # b.gradient
%m.restored_1: fp32[4,40] = dequantize_blocks(%m.int8) {dtype="fp32"}   # a
%ds: fp32[4,40] = silu_grad(%dn, %m.restored_1)   # a.gradient
%m.restored_2: fp32[4,40] = dequantize_blocks(%m.int8) {dtype="fp32"}   # a
%long.restored: fp32[160] = reshape(%m.restored_2) {shape=[160]}   # a.gradient
%square: fp32[160] = multiply(%long.restored, %long.restored)   # a.gradient
return "loss" %loss
return "dx" %ds
return "square" %square
write "gradient.w" %dw
)");
}

std::string values_of(const ir::Graph& graph, const std::vector<ir::ValueId>& values) {
  std::string text;
  for (const ir::ValueId v : values) text += graph.value(v).name + " ";
  return text;
}

struct Model {
  const char* name;
  models::Architecture (*make)();
  double dropout;
  Recipe recipe;
  double error;  // of gradients; in bf16 the weights of the test are larger
};

class CompressedStash : public ::testing::TestWithParam<Model> {
 protected:
  static constexpr std::int64_t kVocabulary = 11;

  ir::Graph compile(StashFormat stash, Policy policy) const {
    models::Architecture model = GetParam().make();
    model.dropout = GetParam().dropout;
    StepOptions options;
    options.precision = GetParam().recipe;
    options.stash = stash;
    options.recompute = policy;
    Runner runner;
    return compile_step(models::loss_graph(model, {2, 6}), std::nullopt, options, runner)
        .accumulate_first;
  }

  static NamedTensors run(const ir::Graph& graph) {
    return run_graph(graph, bessemer::testing::values_for(graph, kVocabulary, 5),
                     KernelChoice::first_accepting);
  }
};

void expect_same(const NamedTensors& results, const NamedTensors& expected) {
  ASSERT_EQ(results.size(), expected.size());
  for (const auto& [name, value] : expected) {
    EXPECT_TRUE(same_bits(results.at(name), value)) << name;
  }
}

double norm_of_difference(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.size(); ++i) sum += std::pow(a.get(i) - b.get(i), 2);
  return std::sqrt(sum);
}

double norm(const Tensor& a) { return norm_of_difference(a, Tensor(a.type())); }

// Relative errors by norm: of all gradients together, and of each that is not next to nothing (that
// of a key's bias is zero but for rounding).
TEST_P(CompressedStash, KeepsTheLossAndBoundsTheErrorOfGradients) {
  NamedTensors exact = run(compile(StashFormat::same, Policy::none));
  const NamedTensors close = run(compile(StashFormat::int8, Policy::none));
  ASSERT_EQ(close.size(), exact.size());
  EXPECT_TRUE(same_bits(close.at("loss"), exact.at("loss")));
  exact.erase("loss");
  double all = 0, all_errors = 0;
  for (const auto& [name, value] : exact) {
    all += std::pow(norm(value), 2);
    all_errors += std::pow(norm_of_difference(close.at(name), value), 2);
  }
  EXPECT_LT(std::sqrt(all_errors / all), GetParam().error);
  EXPECT_GT(std::sqrt(all_errors / all), 1e-3);
  for (const auto& [name, value] : exact) {
    if (norm(value) < 0.01 * std::sqrt(all)) continue;
    EXPECT_LT(norm_of_difference(close.at(name), value) / norm(value), 0.4) << name;
  }
}

// Backward takes values in 8 bits, small statistics, and nothing else.
TEST_P(CompressedStash, IsOfBytes) {
  const ir::Graph before = compile(StashFormat::same, Policy::selective);
  const ir::Graph after = compile(StashFormat::int8, Policy::none);
  const Stash stash(after);
  const auto taken = stash.demand(stash.everything());
  std::size_t statistics = 0;
  for (const ir::ValueId v : taken.stashed) {
    if (after.type(v).dtype == DType::int8) continue;
    EXPECT_EQ(after.nodes()[static_cast<std::size_t>(stash.made_by(v))].op, "attention");
    statistics += after.type(v).bytes();
  }
  const Stash kept(before);
  const std::size_t bytes = kept.bytes(kept.demand(kept.everything())) - statistics;
  EXPECT_LT(stash.bytes(taken) - statistics, bytes * 65 / 100)  // rows of 4 become 5 bytes
      << values_of(after, taken.stashed);
}

TEST_P(CompressedStash, IsTheSameUnderEveryRecomputation) {
  const ir::Graph graph = compile(StashFormat::int8, Policy::none);
  const NamedTensors expected = run(graph);
  EXPECT_EQ(ir::print(compile(StashFormat::int8, Policy::selective)), ir::print(graph));
  const ir::Graph full = compile(StashFormat::int8, Policy::full);
  EXPECT_GT(full.nodes().size(), graph.nodes().size());
  expect_same(run(full), expected);
  const auto frontier = recompute_frontier(graph, cost::describe_here(), [](const ir::Graph& g) {
    const Stash stash(g);
    return Peak{stash.bytes(stash.demand(stash.everything()))};
  });
  EXPECT_GT(frontier.size(), 3u);
  for (const RecomputePoint& point : frontier)
    expect_same(run(recompute(graph, point.kept)), expected);
}

INSTANTIATE_TEST_SUITE_P(
    Models, CompressedStash,
    ::testing::Values(
        Model{"gpt2_fp32", bessemer::testing::tiny_gpt2, 0, Recipe::fp32, 0.06},
        Model{"gpt2_dropout_bf16", bessemer::testing::tiny_gpt2, 0.2, Recipe::bf16, 0.25},
        Model{"llama_bf16", bessemer::testing::tiny_llama, 0, Recipe::bf16, 0.2},
        Model{"llama_dropout_fp32", bessemer::testing::tiny_llama, 0.2, Recipe::fp32, 0.04}),
    [](const auto& test) { return test.param.name; });

TEST(CompressStash, OfRandomGraphsIsValidAndOfOneLoss) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const ir::Graph graph =
        bessemer::testing::random_training_graph(seed, 4 + static_cast<int>(seed) / 2);
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const ir::Graph after = compress_stash(graph);
    ASSERT_NO_THROW(ops::verify(after));
    const NamedTensors inputs = bessemer::testing::values_for(graph, 1, seed);
    const NamedTensors results = run_graph(after, inputs, KernelChoice::first_accepting);
    const NamedTensors exact = run_graph(graph, inputs, KernelChoice::first_accepting);
    EXPECT_TRUE(same_bits(results.at("loss"), exact.at("loss")));
    Kept nothing(after.values().size(), false);
    expect_same(run_graph(recompute(after, nothing), inputs, KernelChoice::first_accepting),
                results);
  }
}

TEST(CompressStash, LeavesGraphsWithoutBackwardAsTheyAre) {
  const ir::Graph graph = models::loss_graph(bessemer::testing::tiny_gpt2(), {2, 6});
  EXPECT_EQ(ir::print(compress_stash(graph)), ir::print(graph));
}

}  // namespace
}  // namespace bessemer::passes
