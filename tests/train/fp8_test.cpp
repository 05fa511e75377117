// Whole runs whose linear layers multiply in 8 bits: they learn as bf16 does, and neither memory
// nor a stop changes a bit of them.
#include <algorithm>
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "base/parallel.h"
#include "checkpoint/checkpoint.h"
#include "train/run.h"
#include "train/stepper.h"

namespace bessemer::testing {
namespace {

using train::Resume;
using train::RunEnd;

struct Fp8Case {
  const char* architecture;
  const char* scaling;
};

std::string name_of(const ::testing::TestParamInfo<Fp8Case>& test) {
  return std::string(test.param.architecture) + "_" + test.param.scaling;
}

// Products this small gain nothing from more, and lose where other programs run.
class OneThread {
 public:
  OneThread() { set_thread_count(1); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread() { set_thread_count(before_); }

 private:
  int before_ = thread_count();
};

class Fp8Test : public ::testing::Test {
 protected:
  // All sizes of layers are multiples of 128: two sequences of 64 tokens a micro-batch.
  config::RunConfig config(const Fp8Case& of, const std::string& name, int steps,
                           std::vector<std::string> more = {}) const {
    more.insert(more.begin(),
                {"data.sequence_length=64", "model.layers=1", "model.hidden=128", "model.ffn=256",
                 "model.kv_heads=2", "model.dropout=0", "checkpoint.every=0",
                 "optimizer.learning_rate=1e-3", "optimizer.warmup_steps=2",
                 std::string("model.architecture=") + of.architecture, "precision.recipe=fp8",
                 std::string("precision.fp8_scaling=") + of.scaling});
    return place_.config(name, steps, more);
  }

  // Loss and norm of each step.
  std::vector<double> numbers_of(const config::RunConfig& config) const {
    EXPECT_EQ(train::train(config, {}), RunEnd::done);
    std::vector<double> numbers;
    for (const auto& object : metrics_of(place_.run(config.train.name))) {
      numbers.insert(numbers.end(), {object.at("loss"), object.at("grad_norm")});
    }
    return numbers;
  }

  OneThread one_thread_;
  RunPlace place_;
};

class Fp8Run : public Fp8Test, public ::testing::WithParamInterface<Fp8Case> {};

TEST_P(Fp8Run, LearnsAsBf16Does) {
  constexpr int kSteps = 30;
  const auto fp8 = numbers_of(config(GetParam(), "fp8", kSteps));
  const auto bf16 = numbers_of(config(GetParam(), "bf16", kSteps, {"precision.recipe=bf16"}));
  ASSERT_EQ(fp8.size(), 2u * kSteps);
  EXPECT_LT(bf16[2 * kSteps - 2], 0.5 * bf16[0]) << "the task is one that so few steps show";
  EXPECT_NE(fp8[1], bf16[1]) << "8 bits must show";
  EXPECT_NEAR(fp8[1], bf16[1], 0.02 * bf16[1]) << "the norm of the first step";
  for (std::size_t i = 0; i < fp8.size(); i += 2) {
    EXPECT_NEAR(fp8[i], bf16[i], 0.015 * bf16[i]) << "loss of step " << i / 2 + 1;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Fp8Run,
                         ::testing::Values(Fp8Case{"gpt2", "current"}, Fp8Case{"gpt2", "delayed"},
                                           Fp8Case{"gpt2", "block"}, Fp8Case{"llama", "current"},
                                           Fp8Case{"llama", "delayed"}, Fp8Case{"llama", "block"}),
                         name_of);

class Fp8Memory : public Fp8Run {};

TEST_P(Fp8Memory, HasTheSameBitsHoweverItIsKept) {
  const auto with = [&](const std::string& name, std::vector<std::string> memory) {
    return numbers_of(config(GetParam(), name, 3, std::move(memory)));
  };
  const auto expected = with("kept", {"memory.recompute=none"});
  EXPECT_EQ(with("selective", {"memory.recompute=selective"}), expected);
  EXPECT_EQ(with("full", {"memory.recompute=full"}), expected);
  EXPECT_EQ(with("moved", {"memory.recompute=none",
                           "memory.offload=optimizer,gradients,parameters,activations"}),
            expected);
}

INSTANTIATE_TEST_SUITE_P(Models, Fp8Memory,
                         ::testing::Values(Fp8Case{"gpt2", "delayed"}, Fp8Case{"llama", "block"}),
                         name_of);

class Fp8Delayed : public Fp8Test {
 protected:
  static constexpr Fp8Case kDelayed{"llama", "delayed"};
};

TEST_F(Fp8Delayed, GoesOnAsIfNeverStopped) {
  const std::vector<std::string> saved{"checkpoint.every=3"};
  const auto whole = numbers_of(config(kDelayed, "whole", 6, saved));
  const Resume from{Resume::Kind::path, checkpoint::checkpoint_path(place_.run("whole"), 3)};
  ASSERT_EQ(train::train(config(kDelayed, "second_half", 6, saved), from), RunEnd::done);
  const auto half = metrics_of(place_.run("second_half"));
  ASSERT_EQ(half.size(), 3u);
  for (std::size_t t = 0; t < 3; ++t) {
    EXPECT_EQ(half[t].at("loss"), whole[2 * (t + 3)]) << t;
    EXPECT_EQ(half[t].at("grad_norm"), whole[2 * (t + 3) + 1]) << t;
  }
  const checkpoint::Checkpoint a(checkpoint::checkpoint_path(place_.run("whole"), 6));
  const checkpoint::Checkpoint b(checkpoint::checkpoint_path(place_.run("second_half"), 6));
  ASSERT_EQ(a.names(), b.names());
  EXPECT_TRUE(a.find("fp8.amax_history").has_value());
  for (const std::string& name : a.names()) {
    const auto x = checkpoint::get(a, name), y = checkpoint::get(b, name);
    EXPECT_EQ(std::memcmp(x.bytes.data(), y.bytes.data(), x.bytes.size()), 0) << name;
  }
}

TEST_F(Fp8Delayed, IsEvaluatedWithTheScalesOfTraining) {
  const config::RunConfig run = config(kDelayed, "run", 3, {"checkpoint.every=3"});
  ASSERT_EQ(train::train(run, {}), RunEnd::done);
  const checkpoint::Checkpoint saved(checkpoint::checkpoint_path(place_.run("run"), 3));
  passes::Runner passes;
  const plan::Plan plan =
      train::compile_evaluation(models::resolve(run.model, kVocabulary, 64),
                                passes::Recipe::fp8_delayed, 4, 64, cost::describe_here(), passes);
  const runtime::Executor executor(plan);
  train::read_scales(saved, executor);
  const checkpoint::TensorView expected = checkpoint::get(saved, "fp8.amax");
  std::vector<std::byte> found(expected.bytes.size());
  executor.read("fp8.amax", found);
  EXPECT_TRUE(std::equal(found.begin(), found.end(), expected.bytes.begin()));
  EXPECT_GT(executor.tensor("fp8.amax").as<float>()[0], 0);
}

// Cut to the largest number of 8 bits it leaves loss and norm finite; the step is skipped, and
// leaves the history as it was.
TEST_F(Fp8Delayed, SkipsAStepWithAnInfinityThatSaturates) {
  Stepper stepper(config(kDelayed, "run", 10));
  EXPECT_FALSE(stepper.step(1, 1e-3).skipped);
  const char* gain = "layers.0.norm2.weight";
  const std::vector<std::byte> healthy = stepper.read(gain);
  std::vector<float> poisoned(healthy.size() / sizeof(float), 3e38f);
  stepper.executor().write(gain, std::as_bytes(std::span(poisoned)));
  const State before = stepper.state();
  const train::StepResult result = stepper.step(2, 1e-3);
  EXPECT_TRUE(std::isfinite(result.loss) && std::isfinite(result.gradient_norm));
  EXPECT_TRUE(result.skipped);
  EXPECT_TRUE(stepper.state() == before);
  stepper.executor().write(gain, healthy);
  EXPECT_FALSE(stepper.step(3, 1e-3).skipped);
  EXPECT_FALSE(stepper.state() == before);
}

}  // namespace
}  // namespace bessemer::testing
