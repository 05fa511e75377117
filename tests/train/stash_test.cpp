// Whole runs with their stash in 8 bits: the first loss of one that keeps it as it is, and the same
// numbers however it is kept within a budget.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "train/run.h"

namespace bessemer::testing {
namespace {

using train::Resume;
using train::RunEnd;

class StashRun : public ::testing::TestWithParam<const char*> {
 protected:
  // With dropout and two micro-batches a step (run.h); long enough for the activations to be most
  // of the peak.
  config::RunConfig config(const std::string& name, std::vector<std::string> more) const {
    more.insert(more.end(), {"data.sequence_length=64", "model.hidden=64", "model.ffn=96",
                             std::string("precision.recipe=") + GetParam()});
    return place_.config(name, 4, more);
  }

  std::vector<double> numbers_of(const std::string& name, std::vector<std::string> more) const {
    EXPECT_EQ(train::train(config(name, std::move(more)), {}), RunEnd::done);
    std::vector<double> numbers;
    for (const auto& object : metrics_of(place_.run(name))) {
      numbers.insert(numbers.end(), {object.at("loss"), object.at("grad_norm")});
    }
    return numbers;
  }

  static plan::Plan plan_of(const config::RunConfig& config) {
    passes::Runner runner;
    const auto model = models::resolve(config.model, 280, config.data.sequence_length);
    return train::compile_run(config, model, cost::describe_here(), runner).plan;
  }

  RunPlace place_;
};

TEST_P(StashRun, HasOneFirstLossAndTheSameNumbersHoweverItIsKept) {
  const std::vector<std::string> int8{"precision.stash=int8"};
  const auto with = [&](const std::string& setting) {
    return std::vector<std::string>{int8[0], setting};
  };
  const std::vector<double> same = numbers_of("same", {});
  const std::vector<double> expected = numbers_of("none", with("memory.recompute=none"));
  ASSERT_EQ(expected.size(), 8u);
  EXPECT_EQ(expected[0], same[0]);  // the first loss; then the weights differ
  EXPECT_NE(expected[1], same[1]);
  for (std::size_t i = 0; i < same.size(); i += 2) {
    EXPECT_NEAR(expected[i], same[i], 0.01 * same[i]);
    EXPECT_NEAR(expected[i + 1], same[i + 1], 0.05 * same[i + 1]);
  }
  EXPECT_EQ(numbers_of("full", with("memory.recompute=full")), expected);
  const std::size_t most = plan_of(config("none", with("memory.recompute=none"))).arena_bytes;
  const std::size_t least = plan_of(config("full", with("memory.recompute=full"))).arena_bytes;
  EXPECT_LT(least, most);
  EXPECT_LT(most, plan_of(config("same", {"memory.recompute=none"})).arena_bytes);
  const std::string budget = fmt::format("memory.device={}", (most + least) / 2);
  EXPECT_EQ(
      numbers_of("fitted", {int8[0], "memory.policy=resident", "memory.recompute=auto", budget}),
      expected);
}

TEST_P(StashRun, GoesOnWithTheSameStashOnly) {
  const std::vector<std::string> int8{"precision.stash=int8"};
  const std::vector<double> whole = numbers_of("whole", int8);
  const Resume from{Resume::Kind::path, checkpoint::checkpoint_path(place_.run("whole"), 3)};
  ASSERT_EQ(train::train(config("second_half", int8), from), RunEnd::done);
  const auto last = metrics_of(place_.run("second_half"));
  ASSERT_EQ(last.size(), 1u);
  EXPECT_EQ(last[0].at("loss"), whole[6]);
  const std::string refusal =
      message_of<InputError>([&] { train::train(config("other", {}), from); });
  EXPECT_NE(refusal.find("[precision]"), std::string::npos) << refusal;
}

INSTANTIATE_TEST_SUITE_P(Recipes, StashRun, ::testing::Values("fp32", "bf16"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace bessemer::testing
