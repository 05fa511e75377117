// Whole runs under each way to recompute: the same losses, in less memory.
#include <gtest/gtest.h>

#include "train/run.h"

namespace bessemer::testing {
namespace {

plan::Plan plan_of(const config::RunConfig& config) {
  constexpr std::int64_t kVocabulary = 280;
  const models::Architecture model =
      models::resolve(config.model, kVocabulary, config.data.sequence_length);
  passes::Runner runner;
  return train::compile_run(config, model, cost::describe_here(), runner).plan;
}

std::vector<double> losses_of(const RunPlace& place, const config::RunConfig& config) {
  EXPECT_EQ(train::train(config, {}), train::RunEnd::done);
  std::vector<double> losses;
  for (const auto& object : metrics_of(place.run(config.train.name))) {
    losses.push_back(object.at("loss"));
    losses.push_back(object.at("grad_norm"));
  }
  return losses;
}

// With dropout, in two micro-batches a step (run.h), in both recipes.
class RecomputedRun : public ::testing::TestWithParam<const char*> {};

TEST_P(RecomputedRun, HasTheLossesOfOneThatKeepsEverything) {
  const RunPlace place;
  const auto config = [&](const std::string& name, const std::string& how) {
    // Deep and long enough for the activations to be most of the peak.
    return place.config(name, 3,
                        {"model.layers=4", "data.sequence_length=64", "checkpoint.every=0",
                         std::string("precision.recipe=") + GetParam(), "memory.recompute=" + how});
  };
  const std::vector<double> expected = losses_of(place, config("none", "none"));
  ASSERT_EQ(expected.size(), 6u);
  EXPECT_EQ(losses_of(place, config("selective", "selective")), expected);
  EXPECT_EQ(losses_of(place, config("full", "full")), expected);
  const std::size_t most = plan_of(config("none", "none")).arena_bytes;
  const std::size_t some = plan_of(config("selective", "selective")).arena_bytes;
  const std::size_t least = plan_of(config("full", "full")).arena_bytes;
  EXPECT_GT(most, some);
  EXPECT_GT(some, least);

  config::RunConfig fitted = config("auto", "auto");
  EXPECT_EQ(plan_of(fitted).arena_bytes, most);  // the machine has enough
  fitted.memory.device = config::Bytes{(some + least) / 2};
  EXPECT_LE(plan_of(fitted).arena_bytes, fitted.memory.device->count);
  EXPECT_EQ(losses_of(place, fitted), expected);
}

TEST_P(RecomputedRun, IsRefusedWhereNothingFits) {
  const RunPlace place;
  config::RunConfig config = place.config("run", 3,
                                          {std::string("precision.recipe=") + GetParam(),
                                           "memory.recompute=auto", "memory.device=1KiB"});
  EXPECT_NE(message_of<InputError>([&] { train::train(config, {}); }), "");
}

INSTANTIATE_TEST_SUITE_P(Recipes, RecomputedRun, ::testing::Values("fp32", "bf16"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace bessemer::testing
