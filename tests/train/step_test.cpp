// Steps whose loss or gradient is not finite: nothing is updated, and the run counts them.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "passes/pipeline.h"
#include "support/model_inputs.h"
#include "train/run.h"
#include "train/step_runner.h"
#include "train/weights.h"

namespace bessemer::testing {
namespace {

TEST(Step, WithoutFiniteGradientsUpdatesNothing) {
  const models::Architecture model = tiny_llama();
  passes::StepOptions options;
  options.precision = passes::Recipe::fp32;
  passes::Runner passes;
  const passes::StepGraphs step =
      passes::compile_step(models::loss_graph(model, {2, 6}), std::nullopt, options, passes);
  const plan::Plan plan =
      plan::make_plan({&step.accumulate_first, &step.update}, cost::describe_here());
  const runtime::Executor executor(plan);
  train::draw_parameters(model, 1, train::into(executor));
  const train::StepRunner runner(executor, 1);
  data::GlobalBatch batch;
  batch.micro_batches.resize(1);
  batch.valid_tokens = 12;
  data::Batch& micro = batch.micro_batches[0];
  for (std::int32_t i = 0; i < 12; ++i) {
    micro.tokens.push_back(i % 11);
    micro.targets.push_back((i + 1) % 11);
    micro.positions.push_back(i % 6);
    micro.visibility.insert(micro.visibility.end(), {0, 6});
  }
  const auto bytes_of_state = [&] {
    std::string all;
    for (const plan::CatalogEntry& entry : plan.catalog) {
      if (entry.role == ir::Role::gradient) continue;
      const runtime::TensorBytes bytes = executor.tensor(entry.name);
      all.append(reinterpret_cast<const char*>(bytes.data), bytes.bytes());
    }
    return all;
  };
  const auto& count = *executor.tensor("optimizer.step").as<std::int64_t>();
  EXPECT_FALSE(runner.run(batch, 1e-3, 1).skipped);
  EXPECT_EQ(count, 1);

  float& weight = executor.tensor("layers.0.mlp.up.weight").as<float>()[3];
  const float healthy = weight;
  for (const float poison :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    weight = poison;
    const std::string before = bytes_of_state();
    const train::StepResult result = runner.run(batch, 1e-3, 2);
    EXPECT_TRUE(result.skipped) << poison;
    EXPECT_FALSE(std::isfinite(result.loss)) << poison;
    EXPECT_TRUE(bytes_of_state() == before) << poison;
  }
  weight = healthy;
  const train::StepResult result = runner.run(batch, 1e-3, 2);
  EXPECT_FALSE(result.skipped);
  EXPECT_TRUE(std::isfinite(result.loss) && std::isfinite(result.gradient_norm));
  EXPECT_EQ(count, 2);
}

// A learning rate at the end of fp32's range: step 1 is good, and leaves weights that overflow.
const std::vector<std::string> kHopeless{
    "optimizer.learning_rate=1e38", "optimizer.min_learning_rate=1e38", "optimizer.warmup_steps=0"};

TEST(Step, NotFiniteOnesAreSkippedAndCounted) {
  const RunPlace place;
  ASSERT_EQ(train::train(place.config("run", 3, kHopeless), {}), train::RunEnd::done);
  const auto metrics = metrics_of(place.run("run"));
  ASSERT_EQ(metrics.size(), 3u);
  EXPECT_EQ(metrics[0].at("skipped"), false);
  EXPECT_TRUE(metrics[0].at("loss").is_number());
  for (const std::size_t i : {1u, 2u}) EXPECT_EQ(metrics[i].at("skipped"), true);
  const checkpoint::Checkpoint saved(checkpoint::checkpoint_path(place.run("run"), 3));
  EXPECT_EQ(saved.state().at("skipped"), 2);
  EXPECT_EQ(saved.state().at("skipped_in_a_row"), 2);
  const auto count = checkpoint::get(saved, "optimizer.step");
  std::int64_t updates = 0;
  std::memcpy(&updates, count.bytes.data(), sizeof updates);
  EXPECT_EQ(updates, 1);
}

TEST(Step, SeveralNotFiniteInARowStopTheRun) {
  const RunPlace place;
  std::vector<std::string> settings = kHopeless;
  settings.emplace_back("train.max_skipped_steps=4");
  const std::string message =
      message_of<Error>([&] { train::train(place.config("run", 50, settings), {}); });
  EXPECT_NE(message.find("stopped after step 5: loss or gradient was not finite 4 steps in a row"),
            std::string::npos)
      << message;
  EXPECT_EQ(metrics_of(place.run("run")).size(), 5u);
  EXPECT_TRUE(checkpoint::find_latest(place.run("run")).has_value());
  // Going on counts the skipped steps of before: it stops again after three more at the latest.
  EXPECT_NE(message_of<Error>([&] { train::train(place.config("run", 50, settings), {}); }), "");
}

}  // namespace
}  // namespace bessemer::testing
