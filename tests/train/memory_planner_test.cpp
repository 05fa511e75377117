// The planner of memory: what it promises is what applying it gives.
#include <gtest/gtest.h>

#include "models/architecture.h"
#include "train/memory_planner.h"
#include "train/run.h"

namespace bessemer::train {
namespace {

constexpr const char* kModel = R"([model]
architecture = "gpt2"
layers = 2
hidden = 64
heads = 4
context = 128
vocabulary = 300
[data]
path = "unread.txt"
vocabulary = 300
sequence_length = 128
[train]
steps = 1
micro_batch_size = 4
global_batch_size = 4
)";

class MemoryPlannerTest : public ::testing::Test {
 protected:
  MemoryPlannerTest() {
    std::ofstream(place_.path() / "run.toml") << kModel;
    machine_.measured = true;
  }

  config::RunConfig config(const std::vector<std::string>& more) const {
    return config::load_run_config(place_.path() / "run.toml", more);
  }
  CompiledRun compile(const config::RunConfig& config) {
    passes::Runner runner;
    return compile_run(config, architecture(config), machine_, runner, known_);
  }
  static models::Architecture architecture(const config::RunConfig& config) {
    return models::resolve(config.model, 300, config.data.sequence_length);
  }
  static std::string budget(std::size_t bytes) { return fmt::format("memory.device={}", bytes); }

  bessemer::testing::RunPlace place_;
  cost::MachineDescription machine_ = cost::describe_here();
  inline static plan::KnownFrontiers known_;  // so that no test finds again what another found
};

void expect_falling(const std::vector<FrontierPoint>& points) {
  EXPECT_EQ(points.front().how, "everything kept");
  for (std::size_t i = 1; i < points.size(); ++i) {
    EXPECT_LT(points[i].device_bytes, points[i - 1].device_bytes);
    EXPECT_GE(points[i].step_seconds, points[i - 1].step_seconds);
  }
}

TEST_F(MemoryPlannerTest, EveryPointOfRecomputationIsReachedByItsBudget) {
  const std::string resident = "memory.offload=none";
  const config::RunConfig asked = config({resident});
  const models::Architecture model = architecture(asked);
  const auto points = MemoryPlanner(asked, model, machine_).frontier();
  ASSERT_GE(points.size(), 8U);
  expect_falling(points);
  for (const FrontierPoint& point : points) {
    SCOPED_TRACE(point.how);
    const CompiledRun run = compile(config({resident, budget(point.device_bytes)}));
    EXPECT_EQ(run.plan.arena_bytes, point.device_bytes);
    EXPECT_EQ(plan::predicted_step_seconds(run.plan, run.micro_batches), point.step_seconds);
  }
}

TEST_F(MemoryPlannerTest, TheFrontierSaysWhatIsChunked) {
  machine_.cpu.avx512_bf16 = false;  // oneDNN's bf16 products keep to their chunk
  const config::RunConfig asked =
      config({"memory.offload=none", "model.layers=1", "precision.recipe=bf16"});
  models::Architecture model = architecture(asked);
  model.vocabulary = 3000;
  const auto points = MemoryPlanner(asked, model, machine_).frontier();
  expect_falling(points);
  EXPECT_NE(points.back().how.find("head in "), std::string::npos) << points.back().how;
}

TEST_F(MemoryPlannerTest, EveryPointWithOffloadIsReachedByItsBudget) {
  const config::RunConfig free = config({});
  const models::Architecture model = architecture(free);
  const auto points = MemoryPlanner(free, model, machine_).frontier();
  expect_falling(points);
  EXPECT_GT(points.back().host_bytes, 0U);
  for (const FrontierPoint& point : points) {
    SCOPED_TRACE(point.how);
    const config::RunConfig asked = config({budget(point.device_bytes)});
    const CompiledRun run = compile(MemoryPlanner(asked, model, machine_).choose());
    EXPECT_LE(run.plan.arena_bytes, point.device_bytes);
    EXPECT_LE(plan::predicted_step_seconds(run.plan, run.micro_batches), point.step_seconds);
  }
}

TEST_F(MemoryPlannerTest, ResidentRecomputesOnlyWhatIsAsked) {
  const std::size_t all = compile(config({"memory.policy=\"resident\""})).plan.arena_bytes;
  const std::string less = budget(all - all / 10);
  EXPECT_EQ(compile(config({"memory.policy=\"resident\"", less})).plan.arena_bytes, all);
  EXPECT_LT(compile(config({less})).plan.arena_bytes, all - all / 10);
}

TEST_F(MemoryPlannerTest, RemediesGiveWhatTheySay) {
  const std::size_t all = compile(config({"memory.policy=\"resident\""})).plan.arena_bytes;
  const std::vector<std::string> tight{"memory.policy=\"resident\"", budget(all - all / 10)};
  const config::RunConfig asked = config(tight);
  const models::Architecture model = architecture(asked);
  MemoryPlanner planner(asked, model, machine_);
  const auto remedies = planner.remedies();
  ASSERT_FALSE(remedies.empty());
  EXPECT_TRUE(remedies.front().fits);
  for (const Remedy& remedy : remedies) {
    SCOPED_TRACE(remedy.change);
    auto applied = tight;
    applied.push_back(remedy.change);
    applied.back().replace(remedy.change.find(" = "), 3, "=");
    EXPECT_EQ(compile(config(applied)).plan.arena_bytes, remedy.device_bytes);
  }
}

TEST_F(MemoryPlannerTest, ARefusalNamesNeedBudgetAndRemedies) {
  const config::RunConfig asked = config({budget(100'000)});
  const models::Architecture model = architecture(asked);
  try {
    MemoryPlanner(asked, model, machine_).check(compile(asked));
    FAIL() << "fits";
  } catch (const InputError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("does not fit"), std::string::npos) << text;
    EXPECT_NE(text.find("97.7 KiB"), std::string::npos) << text;
    EXPECT_NE(text.find("train.micro_batch_size = 1"), std::string::npos) << text;
    EXPECT_NE(text.find("still too much"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace bessemer::train
