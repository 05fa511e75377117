// The plans of the example run files: as small as any placement of their buffers can be.
#include <filesystem>

#include <gtest/gtest.h>

#include "base/file.h"
#include "config/parse.h"
#include "cost/cuda_devices.h"
#include "models/architecture.h"
#include "train/compile.h"
#include "train/memory_planner.h"

namespace bessemer::train {
namespace {

// Sanitizers slow the search by an order of magnitude: they see the small examples.
#ifdef __SANITIZE_ADDRESS__
constexpr std::int64_t kMostLayers = 6;
#else
constexpr std::int64_t kMostLayers = 1000;
#endif

TEST(ExamplePlans, StayWithinTwoPercentOfTheLowerBound) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(BESSEMER_SOURCE_DIR "/examples")) {
    if (entry.path().extension() != ".toml") continue;
    ++files;
    const config::RunConfig config =
        config::parse_run_config(read_file(entry.path()), entry.path().string(), {});
    const models::Architecture architecture = models::resolve(
        config.model, config.data.vocabulary.value_or(1), config.data.sequence_length);
    if (architecture.layers > kMostLayers) continue;
    passes::Runner runner;
    const CompiledRun run = compile_run(config, architecture, cost::describe_here(), runner);
    for (const plan::Program& program : run.plan.programs) {
      EXPECT_LE(static_cast<double>(program.transient_bytes),
                1.02 * static_cast<double>(program.live_peak_bytes))
          << entry.path() << ", " << program.name;
    }
  }
  EXPECT_GE(files, 4);
}

TEST(ExamplePlans, AreMadeForDevicesThatAreNotHere) {
  const cost::MachineDescription machine =
      cost::assumed_cuda_machine("h100", cost::describe_here());
  for (const auto& entry : std::filesystem::directory_iterator(BESSEMER_SOURCE_DIR "/examples")) {
    if (entry.path().extension() != ".toml") continue;
    SCOPED_TRACE(entry.path());
    config::RunConfig config =
        config::parse_run_config(read_file(entry.path()), entry.path().string(), {});
    config.memory.recompute = config::Recompute::selective;
    const models::Architecture architecture = models::resolve(
        config.model, config.data.vocabulary.value_or(1), config.data.sequence_length);
    if (!config.train.micro_batch_size) config.train.micro_batch_size = 1;
    passes::Runner runner;
    const CompiledRun run = compile_run(config, architecture, machine, runner);
    EXPECT_LE(run.plan.arena_bytes, machine.device_memory);
    for (const plan::Program& program : run.plan.programs) {
      for (const plan::Instruction& instruction : program.instructions) {
        EXPECT_EQ(instruction.backend, kernels::Backend::cuda) << instruction.kernel;
      }
    }
  }
}

TEST(ExamplePlans, HaveAFrontierOfAtLeastEightPoints) {
  cost::MachineDescription machine = cost::describe_here();
  for (const auto& entry : std::filesystem::directory_iterator(BESSEMER_SOURCE_DIR "/examples")) {
    if (entry.path().extension() != ".toml") continue;
    SCOPED_TRACE(entry.path());
    const config::RunConfig config =
        config::parse_run_config(read_file(entry.path()), entry.path().string(), {});
    const models::Architecture architecture = models::resolve(
        config.model, config.data.vocabulary.value_or(1), config.data.sequence_length);
    if (architecture.layers > kMostLayers) continue;
    const auto points = MemoryPlanner(config, architecture, machine).frontier();
    EXPECT_GE(points.size(), 8u);
    for (std::size_t i = 1; i < points.size(); ++i) {
      EXPECT_LT(points[i].device_bytes, points[i - 1].device_bytes);
      EXPECT_GE(points[i].step_seconds, points[i - 1].step_seconds);
    }
  }
}

}  // namespace
}  // namespace bessemer::train
