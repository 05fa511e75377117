// Whole runs of the trainer on the null device, which are read a step late: nothing is lost and no
// number changes, whatever makes it wait.
#ifndef BESSEMER_CUDA

#include <gtest/gtest.h>

#include "base/parallel.h"
#include "checkpoint/checkpoint.h"
#include "kernels/cuda/null/stream.h"
#include "train/run.h"

namespace bessemer::testing {
namespace {

class CudaTrainer : public ::testing::Test {
 protected:
  void SetUp() override {
    set_thread_count(1);
    cost::MachineDescription machine = train::known_machine({config::Device::Kind::cuda, 0});
    machine.measured = true;  // or the run would measure it
    train::keep_calibration(machine);
  }
  void TearDown() override { set_thread_count(threads_); }

  train::RunEnd run(const std::string& name, int steps, std::vector<std::string> more,
                    const train::Resume& from = {}) const {
    for (const char* const setting :
         {"run.device=cuda", "model.layers=1", "precision.recipe=fp32"}) {
      more.emplace_back(setting);
    }
    return train::train(place_.config(name, steps, more), from);
  }

  // What a line says of its step, and not of the time it took.
  std::vector<nlohmann::json> numbers(const std::string& name) const {
    std::vector<nlohmann::json> lines;
    for (const nlohmann::json& line : metrics_of(place_.run(name))) {
      EXPECT_GT(line.at("step_seconds"), 0);
      EXPECT_GE(line.at("data_wait_seconds"), 0);
      nlohmann::json& kept = lines.emplace_back();
      for (const char* key : {"step", "tokens", "loss", "learning_rate", "grad_norm", "skipped"}) {
        kept[key] = line.at(key);
      }
    }
    return lines;
  }

  kernels::cuda::null::OfferNullDevice device_;
  RunPlace place_;

 private:
  int threads_ = thread_count();
};

TEST_F(CudaTrainer, WritesEveryStepsOwnNumbers) {
  ASSERT_EQ(run("late", 4, {"checkpoint.every=0"}), train::RunEnd::done);
  const auto late = numbers("late");
  ASSERT_EQ(late.size(), 4u);
  for (std::size_t i = 0; i < late.size(); ++i) {
    EXPECT_EQ(late[i].at("step"), i + 1);
    EXPECT_EQ(late[i].at("tokens"), (i + 1) * 64);
    if (i > 0) {
      EXPECT_NE(late[i].at("loss"), late[i - 1].at("loss"));
    }
  }
  // Waits after each step.
  ASSERT_EQ(run("at_once", 4, {"checkpoint.every=1"}), train::RunEnd::done);
  EXPECT_EQ(numbers("at_once"), late);
  ASSERT_EQ(run("speculative", 4, {"checkpoint.every=3", "optimizer.update=speculative"}),
            train::RunEnd::done);
  EXPECT_EQ(numbers("speculative"), late);
}

TEST_F(CudaTrainer, GoesOnFromACheckpointInItsMiddle) {
  const std::vector<std::string> settings{"checkpoint.every=2", "train.evaluate_every=3",
                                          "data.validation_fraction=0.2"};
  ASSERT_EQ(run("whole", 5, settings), train::RunEnd::done);
  const train::Resume second{train::Resume::Kind::path,
                             checkpoint::checkpoint_path(place_.run("whole"), 2)};
  ASSERT_EQ(run("half", 5, settings, second), train::RunEnd::done);
  const auto whole = numbers("whole"), half = numbers("half");
  ASSERT_EQ(whole.size(), 5u);
  ASSERT_EQ(half.size(), 3u);
  for (std::size_t i = 0; i < half.size(); ++i) EXPECT_EQ(half[i], whole[i + 2]) << i;
}

TEST_F(CudaTrainer, StopsAStepLateWhereNothingIsFinite) {
  const std::string message = message_of<Error>([&] {
    run("hopeless", 50,
        {"optimizer.learning_rate=1e38", "optimizer.min_learning_rate=1e38",
         "optimizer.warmup_steps=0", "train.max_skipped_steps=2", "checkpoint.every=0"});
  });
  EXPECT_NE(message.find("stopped after step 3: loss or gradient was not finite 2 steps in a row"),
            std::string::npos)
      << message;
  EXPECT_EQ(metrics_of(place_.run("hopeless")).size(), 3u);
}

}  // namespace
}  // namespace bessemer::testing

#endif
