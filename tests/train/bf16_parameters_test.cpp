// Whole runs whose matrices are parameters in bf16, without fp32 masters: they learn as with
// masters, and neither memory nor a pause changes a bit of them.
#include <cstring>

#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "plan/report.h"
#include "train/run.h"

namespace bessemer::testing {
namespace {

using train::Resume;
using train::RunEnd;

class Bf16Parameters : public ::testing::Test {
 protected:
  // Large enough for its matrices to be moved (16 KiB and more).
  config::RunConfig config(const std::string& name, int steps,
                           const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all{"model.hidden=64", "model.ffn=96", "precision.parameters=bf16"};
    all.insert(all.end(), more.begin(), more.end());
    for (std::string& one : all) {
      if (one == "FILE") one = "memory.file=" + place_.path().string() + ":64MiB";
    }
    return place_.config(name, steps, all);
  }

  std::vector<double> losses_of(const config::RunConfig& config, const Resume& from = {}) const {
    EXPECT_EQ(train::train(config, from), RunEnd::done);
    std::vector<double> losses;
    for (const auto& step : metrics_of(config.run_directory())) losses.push_back(step.at("loss"));
    return losses;
  }

  checkpoint::Checkpoint checkpoint_of(const std::string& name, std::int64_t step) const {
    return checkpoint::Checkpoint(checkpoint::checkpoint_path(place_.run(name), step));
  }

  void expect_same_checkpoint(const std::string& a, const std::string& b, std::int64_t step) const {
    const checkpoint::Checkpoint of_a = checkpoint_of(a, step), of_b = checkpoint_of(b, step);
    ASSERT_EQ(of_a.names(), of_b.names());
    for (const std::string& name : of_a.names()) {
      const auto x = checkpoint::get(of_a, name), y = checkpoint::get(of_b, name);
      ASSERT_EQ(x.type, y.type) << name;
      EXPECT_EQ(std::memcmp(x.bytes.data(), y.bytes.data(), x.bytes.size()), 0)
          << b << ": " << name;
    }
  }

  RunPlace place_;
};

TEST_F(Bf16Parameters, LearnAsWithMasters) {
  constexpr int kSteps = 40;
  const std::vector<std::string> more{"model.dropout=0", "checkpoint.every=0",
                                      "optimizer.learning_rate=3e-3", "optimizer.warmup_steps=5"};
  const auto rounded = losses_of(config("rounded", kSteps, more));
  std::vector<std::string> masters = more;
  masters.emplace_back("precision.parameters=fp32");
  const auto expected = losses_of(config("masters", kSteps, masters));
  ASSERT_EQ(rounded.size(), expected.size());
  EXPECT_LT(expected.back(), 0.7 * expected.front()) << "the task is one that the steps show";
  for (std::size_t i = 0; i < rounded.size(); ++i) {
    EXPECT_NEAR(rounded[i], expected[i], 0.02 * expected[i]) << "loss of step " << i + 1;
  }
}

TEST_F(Bf16Parameters, HaveTheSameBitsHoweverTheyAreKept) {
  const auto expected = losses_of(config("kept", 6, {"checkpoint.every=6"}));
  const std::vector<std::pair<const char*, std::vector<std::string>>> ways{
      {"recomputed", {"memory.recompute=full"}},
      {"host", {"memory.offload=optimizer,gradients,parameters,activations"}},
      {"file", {"memory.offload=optimizer,gradients,parameters", "FILE"}},
      {"parameters_on_host", {"memory.offload=parameters"}},
      {"state_in_file", {"memory.offload=optimizer:file", "FILE"}},
      {"speculative", {"optimizer.update=speculative"}}};
  for (auto [name, settings] : ways) {
    settings.emplace_back("checkpoint.every=6");
    EXPECT_EQ(losses_of(config(name, 6, settings)), expected) << name;
    expect_same_checkpoint("kept", name, 6);
  }
}

TEST_F(Bf16Parameters, GoOnAsIfNeverStopped) {
  for (const char* update : {"synchronous", "delayed"}) {
    const std::string whole = std::string("whole_") + update, half = std::string("half_") + update;
    const std::vector<std::string> more{std::string("optimizer.update=") + update};
    losses_of(config(whole, 6, more));
    const Resume from{Resume::Kind::path, checkpoint::checkpoint_path(place_.run(whole), 3)};
    losses_of(config(half, 6, more), from);
    expect_same_checkpoint(whole, half, 6);
  }
}

TEST_F(Bf16Parameters, LieInCheckpointsAsTheyAre) {
  losses_of(config("run", 3));
  const checkpoint::Checkpoint saved = checkpoint_of("run", 3);
  const auto dtype = [&](const char* name) { return checkpoint::get(saved, name).type.dtype; };
  EXPECT_EQ(dtype("embedding.weight"), DType::bf16);
  EXPECT_EQ(dtype("layers.0.attention.q.weight"), DType::bf16);
  EXPECT_EQ(dtype("layers.0.norm1.weight"), DType::fp32);
  EXPECT_EQ(dtype("optimizer.m.embedding.weight"), DType::fp32);
  const Resume from{Resume::Kind::path, checkpoint::checkpoint_path(place_.run("run"), 3)};
  const std::string refused = message_of<InputError>(
      [&] { train::train(config("other", 6, {"precision.parameters=fp32"}), from); });
  EXPECT_NE(refused.find("this checkpoint was made with other settings"), std::string::npos)
      << refused;
}

// Masters and bf16 copies of matrices take 4 + 2 bytes an element, these 2.
TEST_F(Bf16Parameters, TakeFourBytesLess) {
  const auto bytes_of = [&](const char* parameters) {
    const config::RunConfig run =
        config("run", 3, {std::string("precision.parameters=") + parameters});
    passes::Runner runner;
    const plan::Plan plan =
        train::compile_run(run, models::resolve(run.model, 280, 16), cost::describe_here(), runner)
            .plan;
    std::size_t bytes = 0;
    for (const plan::CatalogEntry& entry : plan.catalog) {
      const bool kept = entry.role == ir::Role::parameter || entry.role == ir::Role::weight;
      if (kept && entry.type.rank() == 2) bytes += entry.type.bytes();
    }
    return bytes;
  };
  const std::size_t rounded = bytes_of("bf16");
  EXPECT_GT(rounded, 0u);
  // The table of embeddings has no copy: it is looked up in the master.
  const std::size_t table = 280 * 64;
  EXPECT_EQ(bytes_of("fp32"), 3 * rounded - 2 * table);
}

TEST_F(Bf16Parameters, AreQuantizedToFp8) {
  const std::vector<std::string> fp8{"precision.recipe=fp8", "data.sequence_length=64",
                                     "model.hidden=128",     "model.ffn=256",
                                     "model.kv_heads=2",     "checkpoint.every=0"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), fp8.begin(), fp8.end());
    return more;
  };
  const auto expected = losses_of(config("kept", 3, with({})));
  EXPECT_EQ(losses_of(config("moved", 3,
                             with({"memory.offload=optimizer,gradients,parameters,activations"}))),
            expected);
  const auto masters = losses_of(config("masters", 3, with({"precision.parameters=fp32"})));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(expected[i], masters[i], 0.02 * masters[i]) << i;
  }
}

}  // namespace
}  // namespace bessemer::testing
