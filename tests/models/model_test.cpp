#include "models/model.h"

#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "ops/op.h"
#include "support/model_inputs.h"

namespace bessemer::models {
namespace {

Architecture gpt2_124m() {
  Architecture a = bessemer::testing::tiny_gpt2();
  a.layers = 12;
  a.hidden = 768;
  a.heads = a.kv_heads = 12;
  a.head_dim = 64;
  a.ffn = 3072;
  a.context = 1024;
  a.vocabulary = 50257;
  return a;
}

Architecture llama_3_8b() {
  Architecture a = bessemer::testing::tiny_llama();
  a.layers = 32;
  a.hidden = 4096;
  a.heads = 32;
  a.kv_heads = 8;
  a.head_dim = 128;
  a.ffn = 14336;
  a.vocabulary = 128256;
  return a;
}

// As published.
TEST(Parameters, AreAsManyAsPublished) {
  EXPECT_EQ(parameter_count(gpt2_124m()), 124'439'808);
  EXPECT_EQ(parameter_count(llama_3_8b()), 8'030'261'248);
}

TEST(Parameters, HaveNamesAndShapes) {
  std::vector<std::string> lines;
  for (const ParameterInfo& info : parameters(bessemer::testing::tiny_llama())) {
    lines.push_back(info.name + " " + to_string(info.shape));
  }
  const std::vector<std::string> layer{
      "norm1.weight [8]",         "attention.q.weight [8,8]", "attention.k.weight [4,8]",
      "attention.v.weight [4,8]", "attention.o.weight [8,8]", "norm2.weight [8]",
      "mlp.gate.weight [12,8]",   "mlp.up.weight [12,8]",     "mlp.down.weight [8,12]"};
  std::vector<std::string> expected{"embedding.weight [11,8]"};
  for (const char* index : {"0", "1"}) {
    for (const std::string& line : layer) {
      expected.push_back(std::string("layers.") + index + "." + line);
    }
  }
  expected.insert(expected.end(), {"norm.weight [8]", "head.weight [11,8]"});
  EXPECT_EQ(lines, expected);
}

// What the graph reads is what the list says, and the graph is sound.
TEST(Parameters, AreTheInputsOfTheGraph) {
  for (const Architecture& base :
       {bessemer::testing::tiny_gpt2(), bessemer::testing::tiny_llama()}) {
    for (const bool flip : {false, true}) {
      Architecture a = base;
      if (flip) a.tied_embeddings = !a.tied_embeddings;
      std::set<std::string> named, used;
      for (const ParameterInfo& info : parameters(a)) {
        named.insert(info.name + to_string(info.shape));
      }
      for (const ir::Graph& graph :
           {loss_graph(a, {2, 6}), logits_graph(a, {2, 6}), decode_graph(a, {1, 3}, 6)}) {
        ops::verify(graph);
        used.clear();
        for (const ir::Input& input : graph.inputs()) {
          if (input.role != ir::Role::parameter) continue;
          used.insert(input.name + to_string(graph.type(input.value).shape));
        }
        EXPECT_EQ(used, named);
      }
    }
  }
}

TEST(Graphs, HaveACounterOnlyWithDropout) {
  Architecture a = bessemer::testing::tiny_llama();
  EXPECT_EQ(loss_graph(a, {2, 6}).find_input("counter"), nullptr);
  a.dropout = 0.1;
  const ir::Graph graph = loss_graph(a, {2, 6});
  EXPECT_NE(graph.find_input("counter"), nullptr);
  EXPECT_EQ(decode_graph(a, {1, 1}, 6).find_input("counter"), nullptr);
  std::set<std::int64_t> sites;  // every place that draws has a number of its own
  std::size_t draws = 0;
  for (const ir::Node& node : graph.nodes()) {
    if (node.attributes.find("site") == nullptr) continue;
    sites.insert(node.attributes.integer("site"));
    ++draws;
  }
  EXPECT_EQ(draws, 7u);  // the embedding; of two layers attention and both residuals
  EXPECT_EQ(sites.size(), draws);
}

TEST(Flops, AreSixPerMultiplyingWeightAndAttention) {
  const Architecture a = gpt2_124m();
  const double weights = 124'439'808.0 - 1024 * 768 -           // positions
                         12 * (4 * 768 + 3072 + 768 + 4 * 768)  // biases and norms of a layer
                         - 2 * 768;
  EXPECT_DOUBLE_EQ(training_flops_per_token(a, 1024), 6 * weights + 12.0 * 12 * 768 * 512);
}

std::vector<float> drawn(const Architecture& a, const ParameterInfo& info, std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(elements_of(info.shape)), -7.0f);
  initialize(a, info, seed, values.data());
  return values;
}

TEST(Initialize, HasTheRightMoments) {
  Architecture a = gpt2_124m();
  a.layers = 2;
  a.vocabulary = 1000;
  for (const ParameterInfo& info : parameters(a)) {
    const std::vector<float> values = drawn(a, info, 3);
    using Init = ParameterInfo::Init;
    if (info.init == Init::zero || info.init == Init::one) {
      const float constant = info.init == Init::one ? 1 : 0;
      EXPECT_EQ(values, std::vector<float>(values.size(), constant)) << info.name;
      continue;
    }
    const auto n = static_cast<double>(values.size());
    double mean = 0, square = 0, fourth = 0;
    for (const float v : values) mean += v / n;
    for (const float v : values) {
      square += std::pow(v - mean, 2) / n;
      fourth += std::pow(v - mean, 4) / n;
    }
    const bool residual =
        info.name.ends_with("attention.o.weight") || info.name.ends_with("mlp.down.weight");
    EXPECT_EQ(info.init == Init::residual, residual) << info.name;
    const double deviation = residual ? 0.02 / std::sqrt(2.0 * 2) : 0.02;
    EXPECT_NEAR(mean / deviation, 0, 5 / std::sqrt(n)) << info.name;
    EXPECT_NEAR(std::sqrt(square) / deviation, 1, 5 / std::sqrt(2 * n)) << info.name;
    EXPECT_NEAR(fourth / (square * square), 3, 5 * std::sqrt(24 / n)) << info.name;
  }
}

TEST(Initialize, IsAFunctionOfSeedAndName) {
  const Architecture a = bessemer::testing::tiny_llama();
  const std::vector<ParameterInfo> all = parameters(a);
  const auto by_name = [&](const std::string& name) {
    for (const ParameterInfo& info : all) {
      if (info.name == name) return info;
    }
    fail("no {}", name);
  };
  const ParameterInfo up = by_name("layers.0.mlp.up.weight");
  EXPECT_EQ(drawn(a, up, 1), drawn(a, up, 1));
  EXPECT_NE(drawn(a, up, 1), drawn(a, up, 2));
  EXPECT_NE(drawn(a, up, 1), drawn(a, by_name("layers.1.mlp.up.weight"), 1));
  EXPECT_NE(drawn(a, up, 1), drawn(a, by_name("layers.0.mlp.gate.weight"), 1));
  Architecture deeper = a;  // other layers do not move this one's numbers
  deeper.layers = 5;
  EXPECT_EQ(drawn(a, up, 1), drawn(deeper, up, 1));
}

}  // namespace
}  // namespace bessemer::models
