// The head and MLPs in parts of rows: what is cut, how far, and that no bit of a step changes.
#include "passes/chunk.h"

#include <gtest/gtest.h>

#include "ir/text.h"
#include "passes/mlp_regions.h"
#include "passes/pipeline.h"
#include "support/model_inputs.h"

namespace bessemer::passes {
namespace {

constexpr const char* kHeads = R"(graph heads
data %x: bf16[300,16] "x"
data %t: int32[300] "t"
data %dloss: fp32[] "loss_scale"
weight %w: bf16[50,16] "w"
%y: bf16[300,16] = gelu(%x) {approximate="tanh"}
%loss: fp32[], %dx: bf16[300,16], %dw: fp32[50,16] = linear_cross_entropy_train(%dloss, %y, %w, %t) {chunk=150}
%other: fp32[], %lse: fp32[300] = linear_cross_entropy(%y, %w, %t) {chunk=40}
return "loss" %loss
return "other" %other
return "dx" %dx
return "dw" %dw
)";

std::vector<std::int64_t> chunks(const ir::Graph& graph) {
  return {graph.nodes()[1].attributes.integer("chunk"),
          graph.nodes()[2].attributes.integer("chunk")};
}

// The kernels of a CUDA device take as many rows as they like, and no fewer.
TEST(ChunkHead, IsTheKernelsOwnOnACudaDevice) {
  kernels::Machine device;
  device.device = kernels::Backend::cuda;
  const ir::Graph graph = ir::parse(kHeads);
  EXPECT_EQ(ir::print(own_head_chunk(graph, {})), ir::print(graph));
  const ir::Graph own = own_head_chunk(graph, device);
  EXPECT_EQ(chunks(own), (std::vector<std::int64_t>{300, 300}));
  EXPECT_TRUE(finer_at(graph, 1, {}, {}).has_value());
  EXPECT_FALSE(finer_at(own, 1, {}, device).has_value());
}

TEST(ChunkHead, CutsEvenlyInWholeTilesAndNotBelowTheFewestRows) {
  const ir::Graph graph = ir::parse(kHeads);
  using Rows = std::vector<std::int64_t>;
  EXPECT_EQ(ir::print(chunk(graph, {}, {})), ir::print(graph));
  EXPECT_EQ(chunks(chunk_head(graph, 2)), (Rows{80, 32}));
  EXPECT_EQ(chunks(chunk_head(graph, 4)), (Rows{40, 32}));
  EXPECT_EQ(chunks(chunk_head(graph, 8)), (Rows{32, 32}));
  EXPECT_EQ(chunks(chunk_head(graph, 1000)), (Rows{32, 32}));
}

TEST(ChunkHead, CountsChunks) {
  const ir::Graph graph = ir::parse(kHeads);
  EXPECT_EQ(chunks_of(graph, graph.nodes()[0]), 1);
  EXPECT_EQ(chunks_of(graph, graph.nodes()[1]), 2);
  EXPECT_EQ(chunks_of(graph, graph.nodes()[2]), 8);
}

TEST(ChunkHead, IsFinerOnlyWhereThePeakIsAndUntilRowsAreFew) {
  const ir::Graph graph = ir::parse(kHeads);
  const auto after = static_cast<int>(graph.nodes().size());
  for (const int at : {-1, 0, after}) EXPECT_FALSE(finer_at(graph, at, {}, {})) << at;
  Chunking chunking;
  std::vector<std::int64_t> parts;
  for (auto finer = finer_at(graph, 1, chunking, {}); finer;
       finer = finer_at(chunk(graph, chunking, {}), 1, chunking, {})) {
    chunking = *finer;
    parts.push_back(chunking.head);
  }
  EXPECT_EQ(parts, (std::vector<std::int64_t>{2, 4, 8}));
}

// A model of a size that is cut, and the bits of a step in parts of 128 rows and more: with hidden
// values from forward, made again, and from 8 bits. In bf16, which the own products take.
struct Step {
  std::string name;
  models::Architecture (*make)();
  bool accumulates;
  RecomputePolicy recompute;
  StashFormat stash = StashFormat::same;
};

std::vector<Step> steps() {
  std::vector<Step> all;
  for (const bool llama : {false, true}) {
    const auto make = llama ? bessemer::testing::tiny_llama : bessemer::testing::tiny_gpt2;
    for (const bool accumulates : {false, true}) {
      const std::string name =
          std::string(llama ? "llama" : "gpt2") + (accumulates ? "" : "_first");
      all.push_back({name + "_none", make, accumulates, RecomputePolicy::none});
      all.push_back({name + "_selective", make, accumulates, RecomputePolicy::selective});
      all.push_back({name + "_full", make, accumulates, RecomputePolicy::full});
      all.push_back({name + "_int8", make, accumulates, RecomputePolicy::none, StashFormat::int8});
    }
  }
  return all;
}

class ChunkMlp : public ::testing::TestWithParam<Step> {
 protected:
  ChunkMlp() {
    machine_.avx512_bf16 = false;
    models::Architecture model = GetParam().make();
    model.context = 150, model.ffn = 40;
    StepOptions options;
    options.accumulates = GetParam().accumulates;
    options.recompute = GetParam().recompute;
    options.stash = GetParam().stash;
    Runner runner;
    StepGraphs step =
        compile_step(models::loss_graph(model, {3, 150}), std::nullopt, options, runner);
    graph_ = GetParam().accumulates ? *step.accumulate : step.accumulate_first;
  }

  kernels::Machine machine_ = kernels::Machine::detect();
  ir::Graph graph_;
};

TEST_P(ChunkMlp, ChangesNoBit) {
  if (kernels::Machine::detect().avx512_bf16) GTEST_SKIP() << "oneDNN multiplies bf16 here";
  const auto run = [](const ir::Graph& graph) {
    return run_graph(graph, bessemer::testing::values_for(graph, 11, 5),
                     bessemer::testing::KernelChoice::first_accepting);
  };
  const auto expected = run(graph_);
  for (const std::int64_t parts : {2, 3, 4}) {
    const ir::Graph cut = chunk_mlp(graph_, parts, machine_);
    ASSERT_NO_THROW(ops::verify(cut));
    const auto results = run(cut);
    ASSERT_EQ(results.size(), expected.size());
    for (const auto& [name, value] : expected) {
      EXPECT_TRUE(same_bits(results.at(name), value)) << name << " in " << parts;
    }
  }
}

TEST_P(ChunkMlp, CutsTheMlpOfEachLayerInBackward) {
  const auto regions = mlp_regions(graph_, machine_);
  ASSERT_EQ(regions.size(), 2U);
  const auto part_of = [&](const ir::Graph& graph) {
    std::int64_t wide = 0;  // rows of the hidden values there
    for (const ir::Node& node : graph.nodes()) {
      const bool hidden = node.op.ends_with("_grad") && node.op != "attention_grad" &&
                          graph.type(node.results[0]).dim(-1) == 40;
      const TensorType& type = graph.type(node.results[0]);
      if (hidden) wide = std::max(wide, type.elements() / 40);
    }
    return wide;
  };
  EXPECT_EQ(part_of(graph_), 450);
  EXPECT_EQ(part_of(chunk_mlp(graph_, 2, machine_)), 256);
  EXPECT_EQ(part_of(chunk_mlp(graph_, 4, machine_)), 128);
  EXPECT_EQ(ir::print(chunk_mlp(graph_, 1, machine_)), ir::print(graph_));
}

// What oneDNN or cuBLASLt multiplies is not made in parts.
TEST_P(ChunkMlp, LeavesTheRest) {
  kernels::Machine native = machine_, device = machine_;
  native.avx512_bf16 = true;
  device.device = kernels::Backend::cuda;
  for (const kernels::Machine& machine : {native, device}) {
    EXPECT_TRUE(mlp_regions(graph_, machine).empty());
    EXPECT_EQ(ir::print(chunk_mlp(graph_, 4, machine)), ir::print(graph_));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ChunkMlp, ::testing::ValuesIn(steps()),
                         [](const auto& step) { return step.param.name; });

}  // namespace
}  // namespace bessemer::passes
