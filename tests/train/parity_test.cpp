// Against PyTorch and transformers, by golden files (tests/models/golden, tests/train/golden; the
// scripts that made them stand beside them).
#include <cmath>

#include <gtest/gtest.h>

#include "passes/pipeline.h"
#include "passes/write_weights.h"
#include "train/compile.h"
#include "train/golden.h"
#include "train/step_runner.h"

namespace bessemer {
namespace {

namespace fs = std::filesystem;
using testing::golden_models;

constexpr std::int64_t kSequences = 2, kLength = 16;  // of every golden input

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(golden_models())) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class HuggingFace : public ::testing::TestWithParam<std::string> {};

TEST_P(HuggingFace, LogitsAgree) {
  const fs::path directory = golden_models() / GetParam();
  const models::Architecture architecture =
      models::read_hugging_face_config(directory / "config.json");
  passes::Runner runner;
  const passes::ForwardGraphs graphs = passes::compile_forward(
      models::logits_graph(architecture, {kSequences, kLength}), passes::Recipe::fp32, runner);
  const plan::Plan plan = plan::make_plan({&graphs.forward}, cost::describe_here());
  const runtime::Executor executor(plan);
  testing::load_weights(architecture, directory, executor);

  const checkpoint::SafetensorsFile golden(directory / "golden.safetensors");
  const auto ids = testing::values_of<std::int32_t>(golden, "input_ids");
  const auto expected = testing::values_of<float>(golden, "logits");
  std::copy(ids.begin(), ids.end(), executor.data("forward", "tokens").as<std::int32_t>());
  testing::set_whole_sequences(executor, "forward", kSequences, kLength);
  executor.run("forward");
  const runtime::TensorBytes logits = executor.result("forward", "logits");
  ASSERT_EQ(static_cast<std::size_t>(logits.type.elements()), expected.size());
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(logits.as<float>()[i]) - expected[i]));
  }
  EXPECT_LT(largest, 5e-5);  // ignoring a rope scaling, say, moves them by about 1
}

// Prefill and single tokens against the caches give what the whole sequence gives.
TEST_P(HuggingFace, DecodingAgreesWithWholeSequences) {
  const fs::path directory = golden_models() / GetParam();
  const models::Architecture architecture =
      models::read_hugging_face_config(directory / "config.json");
  passes::Runner runner;
  const plan::Plan plan = train::compile_generation(architecture, passes::Recipe::fp32, kLength,
                                                    cost::describe_here(), runner);
  const runtime::Executor executor(plan);
  testing::load_weights(architecture, directory, executor);
  const checkpoint::SafetensorsFile golden(directory / "golden.safetensors");
  const auto ids = testing::values_of<std::int32_t>(golden, "input_ids");
  const auto expected = testing::values_of<float>(golden, "logits");
  for (std::int64_t t = 0; t < kLength; ++t) {
    *executor.data("decode", "tokens").as<std::int32_t>() = ids[static_cast<std::size_t>(t)];
    *executor.data("decode", "visibility").as<std::int32_t>() = 0;
    executor.data("decode", "visibility").as<std::int32_t>()[1] = static_cast<std::int32_t>(t + 1);
    *executor.data("decode", "positions").as<std::int32_t>() = static_cast<std::int32_t>(t);
    executor.run("decode");
    const runtime::TensorBytes logits = executor.result("decode", "logits");
    const std::int64_t vocabulary = logits.type.dim(-1);
    for (std::int64_t v = 0; v < vocabulary; ++v) {
      ASSERT_NEAR(logits.as<float>()[v], expected[static_cast<std::size_t>(t * vocabulary + v)],
                  5e-5)
          << "token " << t;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, HuggingFace, ::testing::ValuesIn(golden_names()),
                         [](const auto& test) { return test.param; });

struct LossCase {
  const char* model;
  const char* file;
  passes::Recipe recipe;
  double loss_tolerance;  // relative
  double norm_tolerance;
};

class Losses : public ::testing::TestWithParam<LossCase> {};

TEST_P(Losses, FollowPyTorchStepByStep) {
  const LossCase& c = GetParam();
  const fs::path directory = golden_models() / c.model;
  const models::Architecture architecture =
      models::read_hugging_face_config(directory / "config.json");
  const checkpoint::SafetensorsFile golden(fs::path(BESSEMER_SOURCE_DIR) / "tests/train/golden" /
                                           c.file);
  const auto inputs = testing::values_of<std::int32_t>(golden, "inputs");
  const auto targets = testing::values_of<std::int32_t>(golden, "targets");
  const auto losses = testing::values_of<double>(golden, "losses");
  const auto norms = testing::values_of<double>(golden, "grad_norms");
  const Shape shape = checkpoint::get(golden, "inputs").type.shape;  // [steps, B, T]

  passes::StepOptions options;
  options.precision = c.recipe;
  options.optimizer = {0.9, 0.95, 1e-8, 0.1, 1.0};
  passes::Runner runner;
  const passes::StepGraphs step = passes::compile_step(
      models::loss_graph(architecture, {shape[1], shape[2]}), std::nullopt, options, runner);
  const ir::Graph update = passes::write_weights(step.update, step.refresh);
  std::vector<const ir::Graph*> graphs{&step.accumulate_first, &update};
  if (!step.refresh.nodes().empty()) graphs.insert(graphs.begin(), &step.refresh);
  const plan::Plan plan = plan::make_plan(graphs, cost::describe_here());
  const runtime::Executor executor(plan);
  testing::load_weights(architecture, directory, executor);
  const train::StepRunner steps(executor, 0);
  steps.refresh();

  data::GlobalBatch batch;
  batch.micro_batches.resize(1);
  data::Batch& micro = batch.micro_batches[0];
  const auto count = static_cast<std::size_t>(shape[1] * shape[2]);
  micro.valid_tokens = batch.valid_tokens = static_cast<std::int64_t>(count);
  for (std::size_t i = 0; i < count; ++i) {
    micro.positions.push_back(static_cast<std::int32_t>(i % static_cast<std::size_t>(shape[2])));
    micro.visibility.push_back(0);
    micro.visibility.push_back(static_cast<std::int32_t>(shape[2]));
  }
  for (std::size_t s = 0; s < losses.size(); ++s) {
    const auto begin = static_cast<std::ptrdiff_t>(s * count);
    const auto end = begin + static_cast<std::ptrdiff_t>(count);
    micro.tokens.assign(inputs.begin() + begin, inputs.begin() + end);
    micro.targets.assign(targets.begin() + begin, targets.begin() + end);
    const train::StepResult result = steps.run(batch, 1e-3, static_cast<std::int64_t>(s) + 1);
    EXPECT_FALSE(result.skipped);
    EXPECT_NEAR(result.loss, losses[s], c.loss_tolerance * losses[s]) << "step " << s;
    EXPECT_NEAR(result.gradient_norm, norms[s], c.norm_tolerance * norms[s]) << "step " << s;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Golden, Losses,
    ::testing::Values(LossCase{"gpt2", "gpt2_fp32.safetensors", passes::Recipe::fp32, 1e-4, 1e-3},
                      LossCase{"llama_grouped_sharded", "llama_grouped_sharded_fp32.safetensors",
                               passes::Recipe::fp32, 1e-4, 1e-3},
                      LossCase{"gpt2", "gpt2_bf16.safetensors", passes::Recipe::bf16, 1e-2, 5e-2},
                      LossCase{"llama_grouped_sharded", "llama_grouped_sharded_bf16.safetensors",
                               passes::Recipe::bf16, 1e-2, 5e-2}));

}  // namespace
}  // namespace bessemer
