// differentiate on whole models, against central differences in fp64.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "passes/differentiate.h"
#include "support/model_inputs.h"

namespace bessemer::passes {
namespace {

using bessemer::testing::NamedTensors;
using bessemer::testing::run_graph;
using bessemer::testing::Tensor;

struct GradientCase {
  const char* name;
  models::Architecture architecture;
};

class Gradients : public ::testing::TestWithParam<GradientCase> {};

TEST_P(Gradients, AreTheDerivativesOfTheLoss) {
  const models::Architecture& architecture = GetParam().architecture;
  const ir::Graph forward = models::loss_graph(architecture, {2, 5}, DType::fp64);
  NamedTensors inputs = bessemer::testing::values_for(forward, architecture.vocabulary, 1);
  const ir::Graph both = differentiate(forward, GradientMode::accumulate);
  NamedTensors of_both = bessemer::testing::values_for(both, architecture.vocabulary, 1);
  const double scale = of_both.at("loss_scale").get(0);
  const NamedTensors outputs = run_graph(both, of_both);

  constexpr double kStep = 1e-5;
  for (const models::ParameterInfo& info : models::parameters(architecture)) {
    Tensor& parameter = inputs.at(info.name);
    const std::string name = gradient_name(info.name);
    const std::int64_t stride = std::max<std::int64_t>(1, parameter.size() / 6);
    for (std::int64_t i = 0; i < parameter.size(); i += stride) {
      const auto loss_at = [&](double value) {
        parameter.set(i, value);
        return run_graph(forward, inputs).at("loss").get(0);
      };
      const double at = parameter.get(i);
      const double numeric = (loss_at(at + kStep) - loss_at(at - kStep)) / (2 * kStep);
      parameter.set(i, at);
      const double gradient = outputs.at(name).get(i) - of_both.at(name).get(i);
      EXPECT_NEAR(gradient, scale * numeric, 1e-7 * (1 + std::abs(numeric)))
          << info.name << " element " << i;
    }
  }
}

// Gradients that replace are those that add, less what was there.
TEST_P(Gradients, ReplaceOrAdd) {
  const models::Architecture& architecture = GetParam().architecture;
  const ir::Graph forward = models::loss_graph(architecture, {2, 5}, DType::fp64);
  const ir::Graph accumulate = differentiate(forward, GradientMode::accumulate);
  const ir::Graph overwrite = differentiate(forward, GradientMode::overwrite);
  const NamedTensors inputs = bessemer::testing::values_for(accumulate, architecture.vocabulary, 1);
  const NamedTensors added = run_graph(accumulate, inputs);
  const NamedTensors replaced = run_graph(overwrite, inputs);
  ASSERT_EQ(added.size(), replaced.size());
  for (const models::ParameterInfo& info : models::parameters(architecture)) {
    const std::string name = gradient_name(info.name);
    const Tensor& before = inputs.at(name);
    for (std::int64_t i = 0; i < before.size(); ++i) {
      ASSERT_NEAR(added.at(name).get(i), before.get(i) + replaced.at(name).get(i), 1e-12) << name;
    }
  }
}

models::Architecture with_dropout(models::Architecture architecture) {
  architecture.dropout = 0.3;
  return architecture;
}

models::Architecture with_window_and_biases(models::Architecture architecture) {
  architecture.attention_window = 2;
  architecture.qkv_bias = true;
  architecture.tied_embeddings = true;
  return architecture;
}

INSTANTIATE_TEST_SUITE_P(
    Models, Gradients,
    ::testing::Values(GradientCase{"gpt2", bessemer::testing::tiny_gpt2()},
                      GradientCase{"gpt2_dropout", with_dropout(bessemer::testing::tiny_gpt2())},
                      GradientCase{"llama", bessemer::testing::tiny_llama()},
                      GradientCase{"llama_variant",
                                   with_window_and_biases(bessemer::testing::tiny_llama())}),
    [](const auto& test) { return test.param.name; });

TEST(Differentiate, NamesWhatIsWrong) {
  const auto message = [](const char* text) -> std::string {
    try {
      differentiate(ir::parse(text), GradientMode::overwrite);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message("graph g\nparameter %w: fp32[2] \"w\"\nreturn \"y\" %w\n"),
            "graph g has no result \"loss\" to differentiate");
  EXPECT_EQ(message("graph g\nparameter %w: fp32[2] \"w\"\nreturn \"loss\" %w\n"),
            "the loss is fp32[2], expected a scalar");
  EXPECT_EQ(message("graph g\nparameter %w: fp32[2] \"w\"\nparameter %v: fp32[2] \"v\"\n"
                    "%y: fp32[] = reduce_sum(%w) {dims=[0]}\nreturn \"loss\" %y\n"),
            "parameter v takes no part in the loss");
}

}  // namespace
}  // namespace bessemer::passes
