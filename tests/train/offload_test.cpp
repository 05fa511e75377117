// Runs whose state lies on the host or in a file: the same numbers, checkpoints that either kind of
// run goes on from, and budgets that are kept or refused.
#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "train/offload.h"
#include "train/run.h"

namespace bessemer::testing {
namespace {

using train::Resume;
using train::RunEnd;

// Large enough for its embedding and matrices to be moved (16 KiB and more).
std::vector<std::string> wide(std::vector<std::string> more) {
  more.insert(more.end(), {"model.hidden=64", "model.ffn=96"});
  return more;
}

std::vector<double> losses_of(const fs::path& run) {
  std::vector<double> losses;
  for (const auto& step : metrics_of(run)) losses.push_back(step.at("loss").get<double>());
  return losses;
}

void expect_same_tensors(const fs::path& a, const fs::path& b, std::int64_t step) {
  const checkpoint::Checkpoint of_a(checkpoint::checkpoint_path(a, step));
  const checkpoint::Checkpoint of_b(checkpoint::checkpoint_path(b, step));
  ASSERT_EQ(of_a.names(), of_b.names());
  for (const std::string& name : of_a.names()) {
    const auto x = checkpoint::get(of_a, name), y = checkpoint::get(of_b, name);
    ASSERT_EQ(x.bytes.size(), y.bytes.size());
    EXPECT_EQ(std::memcmp(x.bytes.data(), y.bytes.data(), x.bytes.size()), 0) << name;
  }
}

struct TierRun {
  const char* name;
  std::vector<std::string> memory;
};

class OffloadedRun : public ::testing::TestWithParam<TierRun> {
 protected:
  RunPlace place_;
  std::vector<std::string> settings() const {
    std::vector<std::string> all = wide(GetParam().memory);
    for (std::string& one : all) {
      if (one == "FILE") one = "memory.file=" + place_.path().string() + ":64MiB";
    }
    return all;
  }
};

TEST_P(OffloadedRun, IsTheResidentRunAndGoesOnFromEither) {
  ASSERT_EQ(train::train(place_.config("resident", 6, wide({})), {}), RunEnd::done);
  ASSERT_EQ(train::train(place_.config("moved", 6, settings()), {}), RunEnd::done);
  EXPECT_EQ(losses_of(place_.run("moved")), losses_of(place_.run("resident")));
  for (const int step : {3, 6}) {
    expect_same_tensors(place_.run("moved"), place_.run("resident"), step);
  }
  const Resume from{Resume::Kind::path, checkpoint::checkpoint_path(place_.run("resident"), 3)};
  ASSERT_EQ(train::train(place_.config("second_half", 6, settings()), from), RunEnd::done);
  expect_same_tensors(place_.run("second_half"), place_.run("resident"), 6);
}

INSTANTIATE_TEST_SUITE_P(
    Tiers, OffloadedRun,
    ::testing::Values(
        TierRun{"host", {"memory.offload=optimizer,gradients,parameters,activations"}},
        TierRun{"file", {"memory.offload=optimizer,gradients,parameters,activations", "FILE"}},
        TierRun{"both",
                {"memory.offload=optimizer:file,parameters:host", "memory.host=1GiB", "FILE"}}),
    [](const auto& test) { return test.param.name; });

train::CompiledRun compiled(const config::RunConfig& config) {
  passes::Runner runner;
  return train::compile_run(config, models::resolve(config.model, 280, 16), cost::describe_here(),
                            runner);
}

TEST(OffloadPlan, MovesBytesFromTierToTier) {
  const RunPlace place;
  const auto bytes = [&](const std::string& offload) {
    return compiled(place.config("run", 3, wide({"memory.offload=" + offload}))).plan;
  };
  const plan::Plan none = bytes("none"), state = bytes("optimizer"),
                   more = bytes("optimizer,gradients"),
                   all = bytes("optimizer,gradients,parameters,activations");
  EXPECT_EQ(none.bytes(ir::Tier::host), 0u);
  EXPECT_LT(state.persistent_bytes, none.persistent_bytes / 2);
  EXPECT_LT(more.persistent_bytes, state.persistent_bytes);
  EXPECT_LT(all.persistent_bytes, more.persistent_bytes);
  EXPECT_GT(all.host.persistent_bytes, more.host.persistent_bytes);
  for (const plan::Plan* plan : {&none, &state, &more, &all}) {
    std::map<ir::Tier, std::size_t> sums;
    for (const plan::LedgerEntry& entry : plan::ledger(*plan)) sums[entry.tier] += entry.bytes;
    for (const auto& [tier, sum] : sums) EXPECT_EQ(sum, plan->bytes(tier));
  }
}

// The norm, for which an update would read them first, is taken where they are made.
TEST(OffloadPlan, GradientsThatMoveAreFetchedOnceByTheUpdate) {
  const RunPlace place;
  for (const char* micro_batches : {"train.global_batch_size=2", "train.global_batch_size=6"}) {
    const auto planned = [&](const std::string& offload) {
      const config::RunConfig config =
          place.config("run", 3, {"model.hidden=64", micro_batches, "memory.offload=" + offload});
      passes::Runner runner;
      return train::compile_run(config, models::resolve(config.model, 300, 16),
                                cost::describe_here(), runner)
          .plan;
    };
    const plan::Plan moved = planned("optimizer,gradients"), resident = planned("optimizer");
    EXPECT_EQ(resident.find("accumulate_last"), nullptr);
    ASSERT_NE(moved.find("accumulate_last"), nullptr);
    EXPECT_EQ(moved.find("accumulate") != nullptr, moved.find("accumulate_first") != nullptr);
    const auto sums = [](const plan::Program& program) {
      return std::count_if(program.instructions.begin(), program.instructions.end(),
                           [](const plan::Instruction& i) { return i.op == "sum_of_squares"; });
    };
    EXPECT_GT(sums(moved.program("accumulate_last")), 0);
    EXPECT_EQ(sums(moved.program("update")), 0);
  }
}

TEST(OffloadPlan, AParameterLargerThanTheDeviceIsThereInTiles) {
  const RunPlace place;
  cost::MachineDescription machine = cost::describe_here();
  machine.cpu.avx512_bf16 = false;  // oneDNN's bf16 head is not cut
  const auto planned = [&](const std::string& device) {
    const config::RunConfig config = place.config(
        "run", 3,
        {"model.hidden=64", "train.micro_batch_size=1", "data.sequence_length=8",
         "memory.device=" + device, "memory.offload=optimizer,gradients,parameters,activations"});
    passes::Runner runner;
    return train::compile_run(config, models::resolve(config.model, 400'000, 16), machine, runner)
        .plan;
  };
  const auto tiles = [](const plan::Plan& plan) {
    const auto& instructions = plan.program("accumulate").instructions;
    return std::count_if(instructions.begin(), instructions.end(),
                         [](const plan::Instruction& i) { return i.op == "matmul_tile"; });
  };
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  const plan::Plan tiled = planned("48MiB"), whole = planned("4GiB");
  EXPECT_LE(tiled.arena_bytes, 48 * kMiB);
  EXPECT_GT(tiled.find_tensor("embedding.weight")->type.bytes(), 2 * 48 * kMiB);
  EXPECT_GT(tiles(tiled), 0);
  EXPECT_EQ(tiles(whole), 0);
}

TEST(OffloadPlan, IsRefusedWhereATierIsTooSmall) {
  const RunPlace place;
  const auto refusal = [&](const std::vector<std::string>& memory) {
    return message_of<InputError>([&] { train::train(place.config("run", 3, wide(memory)), {}); });
  };
  EXPECT_NE(
      refusal({"memory.offload=optimizer", "memory.host=64KiB"}).find("memory.host gives 64.0 KiB"),
      std::string::npos);
  EXPECT_NE(refusal({"memory.offload=optimizer", "memory.file=" + place.path().string() + ":64KiB"})
                .find("memory.file gives 64.0 KiB"),
            std::string::npos);
  EXPECT_NE(refusal({"memory.offload=optimizer", "memory.file=/no/such/place:1GiB"})
                .find("/no/such/place: cannot create a file for the file tier"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(place.run("run") / "metrics.jsonl"));
}

}  // namespace
}  // namespace bessemer::testing
