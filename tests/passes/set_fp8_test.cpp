// Linear layers in 8 bits: which products of which graphs, what is hoisted and what is stashed.
#include "passes/set_fp8.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/op.h"
#include "passes/pipeline.h"
#include "passes/stash.h"
#include "passes/step_programs.h"
#include "support/model_inputs.h"

namespace bessemer::passes {
namespace {

using bessemer::testing::KernelChoice;
using bessemer::testing::NamedTensors;
using bessemer::testing::values_for;

// A layer, forward and backward, whose product sees its operands in other shapes; and one that is
// no layer of a block.
constexpr const char* kBefore = R"(graph layer
data %x: bf16[2,16,32] "x"
data %dy: bf16[2,16,48] "dy"
parameter %0.w: fp32[48,32] "layers.0.w"
parameter %0.b: fp32[48] "layers.0.b"
parameter %head.weight: fp32[16,48] "head.weight"
gradient %0.w_1: fp32[48,32] "gradient.layers.0.w"
%cast: bf16[48,32] = cast(%0.w) {dtype="bf16"}
%cast_1: bf16[16,48] = cast(%head.weight) {dtype="bf16"}
%matmul: bf16[2,16,48] = matmul(%x, %cast, %0.b) {transpose_b=true}   # up
%matmul_1: bf16[2,16,16] = matmul(%matmul, %cast_1) {transpose_b=true}   # head
%matmul_2: bf16[2,16,32] = matmul(%dy, %cast)   # up.gradient
%reshape: bf16[32,32] = reshape(%x) {shape=[32,32]}   # up.gradient
%reshape_1: bf16[32,48] = reshape(%dy) {shape=[32,48]}   # up.gradient
%matmul_3: fp32[48,32] = matmul(%reshape_1, %reshape) {dtype="fp32", transpose_a=true}   # up.gradient
return "z" %matmul_1
return "dx" %matmul_2
write "gradient.layers.0.w" %matmul_3
)";

constexpr const char* kAfter = R"(graph layer
data %x: bf16[2,16,32] "x"
data %dy: bf16[2,16,48] "dy"
parameter %0.w: fp32[48,32] "layers.0.w"
parameter %0.b: fp32[48] "layers.0.b"
parameter %head.weight: fp32[16,48] "head.weight"
gradient %0.w_1: fp32[48,32] "gradient.layers.0.w"
%cast_1: bf16[16,48] = cast(%head.weight) {dtype="bf16"}
%amax: fp32[] = amax(%x)   # up
%quantize_fp8: fp8_e4m3[2,16,32], %quantize_fp8_1: fp32[], %quantize_fp8_2: fp8_e4m3[32,32] = quantize_fp8(%x, %amax) {block="tensor", format="e4m3", transposed=true}   # up
%amax_1: fp32[] = amax(%0.w)   # up
%quantize_fp8_3: fp8_e4m3[48,32], %quantize_fp8_4: fp32[], %quantize_fp8_5: fp8_e4m3[32,48] = quantize_fp8(%0.w, %amax_1) {block="tensor", format="e4m3", transposed=true}   # up
%scaled_matmul: bf16[2,16,48] = scaled_matmul(%quantize_fp8, %quantize_fp8_1, %quantize_fp8_3, %quantize_fp8_4, %0.b) {block_a="tensor", block_b="tensor", dtype="bf16"}   # up
%matmul: bf16[2,16,16] = matmul(%scaled_matmul, %cast_1) {transpose_b=true}   # head
%amax_2: fp32[] = amax(%dy)   # up.gradient
%quantize_fp8_6: fp8_e5m2[2,16,48], %quantize_fp8_7: fp32[], %quantize_fp8_8: fp8_e5m2[48,32] = quantize_fp8(%dy, %amax_2) {block="tensor", format="e5m2", transposed=true}   # up.gradient
%scaled_matmul_1: bf16[2,16,32] = scaled_matmul(%quantize_fp8_6, %quantize_fp8_7, %quantize_fp8_5, %quantize_fp8_4) {block_a="tensor", block_b="tensor", dtype="bf16"}   # up.gradient
%scaled_matmul_2: fp32[48,32] = scaled_matmul(%quantize_fp8_8, %quantize_fp8_7, %quantize_fp8_2, %quantize_fp8_1) {block_a="tensor", block_b="tensor", dtype="fp32"}   # up.gradient
return "z" %matmul
return "dx" %scaled_matmul_1
write "gradient.layers.0.w" %scaled_matmul_2
)";

std::map<std::string, int> count_ops(const ir::Graph& graph) {
  std::map<std::string, int> count;
  for (const ir::Node& node : graph.nodes()) ++count[node.op];
  return count;
}

TEST(SetFp8, TakesTheThreeProductsOfALayer) {
  const ir::Graph before = ir::parse(kBefore);
  ASSERT_EQ(ir::print(before), kBefore) << "not in canonical form";
  const ir::Graph after = set_fp8(before, Fp8Scaling::current);
  ops::verify(after);
  EXPECT_EQ(ir::print(after), kAfter);
}

// What each tensor reached is known before: no node looks for it but that of the weight.
TEST(SetFp8, DelayedScalesByWhatTensorsReached) {
  const ir::Graph after = set_fp8(ir::parse(kBefore), Fp8Scaling::delayed);
  ops::verify(after);
  const ir::Input* known = after.find_input(kFp8Amax);
  ASSERT_NE(known, nullptr);
  EXPECT_EQ(known->role, ir::Role::optimizer);
  EXPECT_EQ(to_string(after.type(known->value)), "fp32[2]");
  std::vector<std::string> quantized;
  for (const ir::Node& node : after.nodes()) {
    if (node.op != "quantize_fp8") continue;
    const std::string by = after.value(node.operands[1]).name;
    quantized.push_back(after.value(node.operands[0]).name + " by " + by + " " +
                        to_string(node.attributes));
  }
  const std::vector<std::string> expected{
      R"(x by fp8.amax {assumed=64.0, block="tensor", format="e4m3", indices=[0], transposed=true})",
      R"(0.w by amax {block="tensor", format="e4m3", transposed=true})",
      R"(dy by fp8.amax {assumed=0.015625, block="tensor", format="e5m2", indices=[1], transposed=true})"};
  EXPECT_EQ(quantized, expected);
  EXPECT_EQ(count_ops(after)["amax"], 1);
}

// The same in blocks: other attributes and scales. Both are near the numbers of bf16.
TEST(SetFp8, KeepsNumbersButForRoundings) {
  for (const Fp8Scaling scaling : {Fp8Scaling::current, Fp8Scaling::delayed, Fp8Scaling::block}) {
    std::string text = kBefore;
    if (scaling == Fp8Scaling::block) {  // 128 rows, 256 inputs, 384 outputs
      const auto replace = [&](const std::string& from, const std::string& to) {
        for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos;) {
          text.replace(at, from.size(), to);
          at += to.size();
        }
      };
      replace("[2,16,32]", "[2,64,256]");
      replace("[2,16,48]", "[2,64,384]");
      replace("[2,16,16]", "[2,64,16]");
      replace("[48,32]", "[384,256]");
      replace("[16,48]", "[16,384]");
      replace("[32,32]", "[128,256]");
      replace("[32,48]", "[128,384]");
      replace("[48]", "[384]");
    }
    const ir::Graph before = ir::parse(text);
    const ir::Graph after = set_fp8(before, scaling);
    ops::verify(after);
    EXPECT_EQ(count_ops(after)["scaled_matmul"], 3);
    EXPECT_EQ(count_ops(after)["matmul"], 1) << "the head";
    EXPECT_EQ(count_ops(after)["quantize_fp8"], 3) << "x, dy and W once each";
    NamedTensors inputs = values_for(after, 7, 1);
    if (const auto known = inputs.find(kFp8Amax); known != inputs.end()) {
      known->second = bessemer::testing::of({DType::fp32, {2}}, {4, 4});
    }
    const NamedTensors expected = run_graph(before, inputs, KernelChoice::first_accepting);
    for (const KernelChoice choice : {KernelChoice::reference, KernelChoice::first_accepting}) {
      for (const auto& [name, value] : run_graph(after, inputs, choice)) {
        const double apart = relative_difference(value, expected.at(name));
        EXPECT_LE(apart, 0.1) << name;
        EXPECT_GT(apart, 1e-4) << name << ": 8 bits must show";
      }
    }
  }
}

TEST(SetFp8, LeavesSizesThatTensorCoresDoNotTake) {
  const ir::Graph graph = ir::parse(kBefore);
  EXPECT_EQ(ir::print(set_fp8(graph, Fp8Scaling::block)), kBefore);
}

models::Architecture model_of(models::Family family) {
  models::Architecture model = family == models::Family::gpt2 ? bessemer::testing::tiny_gpt2()
                                                              : bessemer::testing::tiny_llama();
  model.hidden = 128;
  model.head_dim = 64;
  model.ffn = 256;
  model.kv_heads = 2;
  model.context = 64;
  return model;
}

struct Case {
  const char* name;
  models::Family family;
  Recipe recipe;
};

class Fp8Step : public ::testing::TestWithParam<Case> {
 protected:
  StepGraphs compile(Recipe recipe, RecomputePolicy policy = RecomputePolicy::none) const {
    const models::Architecture model = model_of(GetParam().family);
    StepOptions options;
    options.precision = recipe;
    options.accumulates = true;
    options.recompute = policy;
    Runner runner;
    const ir::Graph loss = models::loss_graph(model, {2, 64});
    return compile_step(loss, loss, options, runner);
  }
};

// Weights are quantized in refresh alone, both ways, and there is no bf16 copy of them; gradients
// of weights take the sum so far as their addend.
TEST_P(Fp8Step, HasEveryLayerIn8Bits) {
  const StepGraphs step = compile(GetParam().recipe);
  const bool gpt2 = GetParam().family == models::Family::gpt2;
  const int layers = 2 * (gpt2 ? 6 : 7), activations = 2 * 4;
  for (const ir::Graph* graph : {&step.accumulate_first, &*step.accumulate}) {
    auto count = count_ops(*graph);
    EXPECT_EQ(count["matmul"], 0);
    EXPECT_EQ(count["scaled_matmul"], 3 * layers);
    EXPECT_EQ(count["quantize_fp8"], activations + layers) << "each x and each dy";
  }
  EXPECT_EQ(count_ops(step.refresh)["quantize_fp8"], layers);
  EXPECT_EQ(count_ops(*step.evaluate)["scaled_matmul"], layers);
  for (const ir::Output& weight : step.refresh.outputs()) {
    const bool of_layer = weight.name.find("layers.") != std::string::npos;
    EXPECT_TRUE(!of_layer || weight.name.find("quantize_fp8") != std::string::npos) << weight.name;
  }
  int with_addend = 0;
  for (const ir::Node& node : step.accumulate->nodes()) {
    const bool of_weight =
        node.op == "scaled_matmul" && step.accumulate->type(node.results[0]).dtype == DType::fp32;
    with_addend += of_weight && node.operands.size() == 6;
  }
  EXPECT_EQ(with_addend, layers);
}

TEST_P(Fp8Step, KeepsTheBitsOfActivationsForBackwardOnce) {
  const auto stashed = [](const ir::Graph& graph, DType dtype) {
    const Stash stash(graph);
    std::int64_t bytes = 0;
    for (const ir::ValueId value : stash.demand(stash.everything()).stashed) {
      const TensorType& type = graph.type(value);
      if (type.dtype == dtype) bytes += static_cast<std::int64_t>(type.bytes());
    }
    return bytes;
  };
  const ir::Graph fp8 = compile(GetParam().recipe).accumulate_first;
  const ir::Graph bf16 = compile(Recipe::bf16).accumulate_first;
  // Of each layer the inputs of q, of o, of up and of down: three of the model's width, one of the
  // feed-forward's. That of o is attention's result too, which its own backward takes.
  const std::int64_t rows = 128, layers = 2, bits = layers * rows * (3 * 128 + 256);
  EXPECT_EQ(stashed(fp8, DType::fp8_e4m3), bits);
  EXPECT_EQ(stashed(bf16, DType::bf16) - stashed(fp8, DType::bf16),
            2 * (bits - layers * rows * 128));
}

TEST_P(Fp8Step, HasTheSameBitsUnderEachPolicy) {
  const StepGraphs none = compile(GetParam().recipe);
  for (const RecomputePolicy policy : {RecomputePolicy::selective, RecomputePolicy::full}) {
    const ir::Graph graph = *compile(GetParam().recipe, policy).accumulate;
    EXPECT_GT(graph.nodes().size(), none.accumulate->nodes().size());
    const NamedTensors inputs = values_for(graph, 11, 5);
    const auto expected = run_graph(*none.accumulate, inputs, KernelChoice::first_accepting);
    for (const auto& [name, value] : run_graph(graph, inputs, KernelChoice::first_accepting)) {
      EXPECT_TRUE(same_bits(value, expected.at(name))) << name;
    }
  }
}

std::vector<ir::Graph> planned(const StepGraphs& step) {
  Runner runner;
  return step_programs(step, {.micro_batches = 2}, cost::describe_here(), runner).graphs;
}

const ir::Graph& named(const std::vector<ir::Graph>& graphs, std::string_view name) {
  const auto at = std::find_if(graphs.begin(), graphs.end(),
                               [&](const ir::Graph& graph) { return graph.name() == name; });
  require(at != graphs.end(), "no graph {}", name);
  return *at;
}

// What tensors of a graph are quantized, by their number in "fp8.amax": where they are used, and
// whether they are measured.
std::map<std::int64_t, std::string> numbered(const ir::Graph& graph, bool measured) {
  std::map<std::int64_t, std::string> labels;
  for (const ir::Node& node : graph.nodes()) {
    if (node.attributes.find("indices") == nullptr) continue;
    const bool first =
        labels.try_emplace(node.attributes.integers("indices")[0], node.label).second;
    EXPECT_EQ(node.attributes.boolean("measure", false), first && measured) << node.label;
  }
  return labels;
}

// Backward that quantizes again does not measure again.
TEST_P(Fp8Step, MeasuresEachTensorOnce) {
  if (GetParam().recipe != Recipe::fp8_delayed) GTEST_SKIP() << "of delayed scaling";
  std::map<std::int64_t, std::string> expected;
  for (const RecomputePolicy policy : {RecomputePolicy::none, RecomputePolicy::full}) {
    const std::vector<ir::Graph> graphs = planned(compile(GetParam().recipe, policy));
    for (const char* name : {"accumulate_first", "accumulate"}) {
      const ir::Graph& graph = named(graphs, name);
      ops::verify(graph);
      const auto labels = numbered(graph, true);
      EXPECT_EQ(static_cast<std::int64_t>(labels.size()),
                graph.type(graph.find_input(kFp8Amax)->value).dim(0));
      if (expected.empty()) expected = labels;
      EXPECT_EQ(labels, expected);
      EXPECT_EQ(count_ops(graph)["collect_amax"], 1);
    }
    const auto forward = numbered(named(graphs, "evaluate"), false);
    EXPECT_EQ(forward.size(), 2u * 4);
    for (const auto& [number, label] : forward) EXPECT_EQ(label, expected.at(number));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, Fp8Step,
    ::testing::Values(Case{"gpt2_current", models::Family::gpt2, Recipe::fp8_current},
                      Case{"gpt2_delayed", models::Family::gpt2, Recipe::fp8_delayed},
                      Case{"gpt2_block", models::Family::gpt2, Recipe::fp8_block},
                      Case{"llama_current", models::Family::llama, Recipe::fp8_current},
                      Case{"llama_delayed", models::Family::llama, Recipe::fp8_delayed},
                      Case{"llama_block", models::Family::llama, Recipe::fp8_block}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace bessemer::passes
