// The planner of memory: what it promises is what applying it gives.
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "models/architecture.h"
#include "train/memory_planner.h"
#include "train/offload.h"
#include "train/run_compiler.h"
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
    return compile_run(config, architecture(config), machine_, runner);
  }
  static models::Architecture architecture(const config::RunConfig& config) {
    return models::resolve(config.model, 300, config.data.sequence_length);
  }
  static std::string budget(std::size_t bytes) { return fmt::format("memory.device={}", bytes); }

  bessemer::testing::RunPlace place_;
  cost::MachineDescription machine_ = cost::describe_here();
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
    EXPECT_EQ(run.plan.arena_bytes, point.device_bytes);
    EXPECT_EQ(run.plan.bytes(ir::Tier::host), point.host_bytes);
    EXPECT_EQ(plan::predicted_step_seconds(run.plan, run.micro_batches), point.step_seconds);
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
    MemoryPlanner(asked, model, machine_).check();
    FAIL() << "fits";
  } catch (const InputError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("does not fit"), std::string::npos) << text;
    EXPECT_NE(text.find("97.7 KiB"), std::string::npos) << text;
    EXPECT_NE(text.find("train.micro_batch_size = 1"), std::string::npos) << text;
    EXPECT_NE(text.find("still too much"), std::string::npos) << text;
  }
}

// Every byte of every tier under a name and in an account.
void expect_whole_ledger(const plan::Plan& plan) {
  const std::set<std::string> accounts{"parameters", "optimizer",     "gradients", "weights",
                                       "cache",      "data",          "stash",     "transients",
                                       "scratch",    "communication", "unused"};
  std::map<ir::Tier, std::size_t> sums;
  std::map<std::string, std::size_t> by_account;
  for (const plan::LedgerEntry& entry : plan::ledger(plan)) {
    EXPECT_FALSE(entry.name.empty());
    EXPECT_TRUE(accounts.contains(entry.category)) << entry.category;
    sums[entry.tier] += entry.bytes;
    by_account[entry.category] += entry.bytes;
  }
  for (const ir::Tier tier : {ir::Tier::device, ir::Tier::host, ir::Tier::file}) {
    EXPECT_EQ(sums[tier], plan.bytes(tier)) << name_of(tier);
  }
  EXPECT_EQ(by_account["data"], plan.data_bytes);
  const bool moves = plan.bytes(ir::Tier::host) > 0;
  EXPECT_EQ(by_account["communication"] > 0, moves);
}

// What is put together from programs planned one by one is what the whole plan says.
TEST_F(MemoryPlannerTest, APriceIsThatOfThePlan) {
  using config::OffloadTier, config::TensorClass;
  const std::vector<config::OffloadItem> everything{{TensorClass::optimizer, OffloadTier::host},
                                                    {TensorClass::gradients, OffloadTier::file},
                                                    {TensorClass::parameters, OffloadTier::file},
                                                    {TensorClass::activations, OffloadTier::host}};
  const config::RunConfig asked =
      config({"train.sample_every=1", budget(1), "memory.file=\"/tmp:1GiB\""});
  passes::Runner runner;
  RunCompiler compiler(asked, architecture(asked), machine_, runner);
  for (const std::int64_t size : {4, 1}) {
    for (const auto& offload : {std::vector<config::OffloadItem>(), everything}) {
      Way way{size, offload, kWhole, config::Recompute::automatic, 0};
      const std::vector<std::size_t> levels = compiler.levels(way);
      for (const std::size_t level : {levels.front(), levels[levels.size() / 2], levels.back()}) {
        way.level = level;
        SCOPED_TRACE(fmt::format("{} sequences, {} moved, level {}", size, offload.size(), level));
        const Price price = compiler.price(way);
        const CompiledRun run = compiler.compile(way);
        EXPECT_EQ(run.micro_batches, 4 / size);
        for (const ir::Tier tier : {ir::Tier::device, ir::Tier::host, ir::Tier::file}) {
          EXPECT_EQ(price.bytes[ir::index_of(tier)], run.plan.bytes(tier));
        }
        EXPECT_EQ(price.step_seconds, plan::predicted_step_seconds(run.plan, run.micro_batches));
        expect_whole_ledger(run.plan);
      }
    }
  }
}

class OpenMicroBatch : public MemoryPlannerTest {
 protected:
  config::RunConfig open(const std::vector<std::string>& more) const {
    config::RunConfig asked = config(more);
    asked.train.micro_batch_size.reset();
    asked.train.global_batch_size = 4;
    return asked;
  }
  CompiledRun chosen(const config::RunConfig& asked) {
    return MemoryPlanner(asked, architecture(asked), machine_).compile();
  }
};

TEST_F(OpenMicroBatch, IsTheOneWithTheLeastTimeThatFits) {
  const std::size_t all = chosen(open({})).plan.arena_bytes;
  for (const std::size_t device : {all, all / 2}) {
    SCOPED_TRACE(device);
    const CompiledRun best = chosen(open({budget(device)}));
    const double seconds = plan::predicted_step_seconds(best.plan, best.micro_batches);
    EXPECT_LE(best.plan.arena_bytes, device);
    EXPECT_EQ(best.micro_batch_size * best.micro_batches, 4);
    for (const std::int64_t size : {1, 2, 4}) {
      config::RunConfig given = open({budget(device)});
      given.train.micro_batch_size = size;
      const CompiledRun run = chosen(given);
      EXPECT_EQ(run.micro_batch_size, size);
      if (run.plan.arena_bytes > device) continue;
      EXPECT_GE(plan::predicted_step_seconds(run.plan, run.micro_batches), seconds) << size;
    }
  }
}

TEST_F(OpenMicroBatch, EveryPointOfTheFrontierIsReachedByItsBudget) {
  const config::RunConfig asked = open({"memory.offload=none"});
  const auto points = MemoryPlanner(asked, architecture(asked), machine_).frontier();
  EXPECT_GE(points.size(), 8U);
  expect_falling(points);
  EXPECT_GT(points.front().micro_batch_size, points.back().micro_batch_size);
  for (const FrontierPoint& point : {points.front(), points[points.size() / 2], points.back()}) {
    SCOPED_TRACE(point.how);
    const CompiledRun run = chosen(open({"memory.offload=none", budget(point.device_bytes)}));
    EXPECT_EQ(run.plan.arena_bytes, point.device_bytes);
    EXPECT_EQ(run.micro_batch_size, point.micro_batch_size);
  }
}

TEST_F(OpenMicroBatch, ARunThatGoesOnIsNotToldToTakeAnother) {
  config::RunConfig asked = config({budget(100'000)});
  MemoryPlanner planner(asked, architecture(asked), machine_, BatchFrom::checkpoint);
  try {
    planner.check();
    FAIL() << "fits";
  } catch (const InputError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("keeps its micro-batches (train.micro_batch_size = 4)"), std::string::npos)
        << text;
    EXPECT_EQ(text.find("train.micro_batch_size = 1"), std::string::npos) << text;
  }
}

// A model of 70 billion parameters on a device of 80 GiB: planned, never allocated.
TEST_F(MemoryPlannerTest, PlansWhatThisMachineCouldNotHold) {
  std::ofstream(place_.path() / "run.toml") << R"([model]
architecture = "llama"
layers = 80
hidden = 8192
heads = 64
kv_heads = 8
ffn = 28672
vocabulary = 128256
[data]
path = "unread.txt"
sequence_length = 4096
[train]
steps = 1
micro_batch_size = 1
[precision]
recipe = "bf16"
[memory]
device = "80GiB"
host = "2TiB"
recompute = "full"
)";
  const config::RunConfig asked = config({});
  MemoryPlanner planner(asked, models::resolve(asked.model, 128256, 4096), machine_);
  EXPECT_NO_THROW(planner.check());
  const CompiledRun run = planner.compile();
  EXPECT_GT(models::parameter_count(run.architecture), 70'000'000'000);
  EXPECT_LE(run.plan.arena_bytes, std::size_t{80} << 30);
  EXPECT_GT(run.plan.bytes(ir::Tier::host), std::size_t{900} << 30);  // state, 14 bytes each
}

}  // namespace
}  // namespace bessemer::train
