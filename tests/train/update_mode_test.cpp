// Updates that run beside the computation: the delayed one is its recurrence, the speculative one
// the synchronous step, bit for bit, wherever the tensors lie.
#include <cmath>
#include <cstring>
#include <map>

#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "plan/report.h"
#include "train/run.h"
#include "train/stepper.h"

namespace bessemer::testing {
namespace {

using train::Resume;
using train::RunEnd;

struct UpdateCase {
  const char* name;
  std::vector<std::string> settings;  // FILE stands for a directory of the file tier
};

const std::vector<UpdateCase> kCases{
    {"one_micro_batch", {"train.global_batch_size=2"}},
    {"two_micro_batches", {}},
    {"three_micro_batches_fp32", {"train.global_batch_size=6", "precision.recipe=fp32"}},
    {"recomputed", {"memory.recompute=full"}},
    {"host", {"memory.offload=optimizer,gradients,parameters,activations"}},
    {"state_in_file", {"FILE", "memory.offload=optimizer"}},
    {"all_in_file", {"FILE", "memory.offload=optimizer,gradients,parameters,activations"}},
    {"all_in_file_fp32",
     {"FILE", "memory.offload=optimizer,gradients,parameters,activations", "precision.recipe=fp32",
      "train.global_batch_size=2"}},
    {"bf16_parameters", {"precision.parameters=bf16"}},
    {"bf16_parameters_in_file",
     {"FILE", "memory.offload=optimizer,gradients,parameters", "precision.parameters=bf16"}}};

class UpdateMode : public ::testing::TestWithParam<UpdateCase> {
 protected:
  // Large enough for its matrices to be moved (16 KiB and more), and tied, as the larger models
  // are.
  config::RunConfig config(std::vector<std::string> more) const {
    std::vector<std::string> all{"model.hidden=64", "model.ffn=96", "model.tied_embeddings=true",
                                 "optimizer.weight_decay=0.1"};
    all.insert(all.end(), GetParam().settings.begin(), GetParam().settings.end());
    all.insert(all.end(), more.begin(), more.end());
    for (std::string& one : all) {
      if (one == "FILE") one = "memory.file=" + place_.path().string() + ":64MiB";
    }
    return place_.config("run", 10, all);
  }

  RunPlace place_;
};

class UpdateModeNotFinite : public UpdateMode {};

void expect_same(const State& state, const State& wanted, std::int64_t step) {
  ASSERT_EQ(state.size(), wanted.size());
  for (const auto& [name, bytes] : wanted) {
    EXPECT_TRUE(state.at(name) == bytes) << "step " << step << ": " << name;
  }
}

// theta(t+1) = AdamW(theta(t), g(t-1)) in plain steps: one run computes gradients, at the
// parameters of another one, which gets these gradients a step later.
class DelayedByHand {
 public:
  explicit DelayedByHand(const config::RunConfig& config) : gradients_(config), updates_(config) {}

  train::StepResult step(std::int64_t number, double learning_rate) {
    const train::StepResult result = gradients_.step(number, learning_rate);
    State made;
    for (const std::string& name : gradients_.names_of(ir::Role::gradient)) {
      made[name] = gradients_.read(name);
    }
    if (!pending_.empty()) apply();
    pending_ = std::move(made);
    pending_rate_ = static_cast<float>(learning_rate);
    for (const std::string& name : updates_.names_of(ir::Role::parameter)) {
      gradients_.executor().write(name, updates_.read(name));
    }
    gradients_.refresh();
    return result;
  }

  State state() const { return updates_.state(); }

 private:
  void apply() const {
    const runtime::Executor& executor = updates_.executor();
    for (const auto& [name, bytes] : pending_) executor.write(name, bytes);
    *executor.data("update", "learning_rate").as<float>() = pending_rate_;
    *executor.data("update", "loss_scale").as<double>() = 1;  // of the loss that was carried over
    executor.run("update");
    updates_.refresh();
  }

  Stepper gradients_, updates_;
  State pending_;
  float pending_rate_ = 0;
};

TEST_P(UpdateMode, DelayedIsItsRecurrence) {
  const std::vector<std::string> clips{"optimizer.gradient_clip=0.5"};
  DelayedByHand by_hand(config(clips));
  Stepper delayed(config({clips[0], "optimizer.update=delayed"}));
  const double rates[] = {1e-2, 2e-2, 5e-3, 1e-2};
  std::vector<double> losses;
  for (std::int64_t t = 1; t <= 4 && !HasFailure(); ++t) {
    const train::StepResult wanted = by_hand.step(t, rates[t - 1]);
    const train::StepResult got = delayed.step(t, rates[t - 1]);
    EXPECT_EQ(got.loss, wanted.loss) << t;
    EXPECT_EQ(got.gradient_norm, wanted.gradient_norm) << t;
    EXPECT_FALSE(got.skipped);
    expect_same(delayed.state(), by_hand.state(), t);
    std::int64_t counted = 0;
    std::memcpy(&counted, delayed.read("optimizer.step").data(), sizeof counted);
    EXPECT_EQ(counted, t) << "the pending one is counted";
  }
}

// The second step's rate overflows the parameters, in the third step; the gradients of the fourth
// are not finite, and nothing is updated any more.
TEST_P(UpdateModeNotFinite, DelayedSkipsIt) {
  DelayedByHand by_hand(config({}));
  Stepper delayed(config({"optimizer.update=delayed"}));
  for (std::int64_t t = 1; t <= 5 && !HasFailure(); ++t) {
    const double rate = t == 2 ? 1e38 : 1e-2;
    const train::StepResult wanted = by_hand.step(t, rate), got = delayed.step(t, rate);
    EXPECT_EQ(got.skipped, wanted.skipped) << t;
    EXPECT_EQ(got.skipped, t >= 4) << t;
    expect_same(delayed.state(), by_hand.state(), t);
  }
}

TEST_P(UpdateMode, SpeculativeIsSynchronous) {
  // Never clips; sometimes, at the median of the norms; always.
  std::vector<double> norms;
  {
    Stepper synchronous(config({"optimizer.gradient_clip=0"}));
    for (std::int64_t t = 1; t <= 5; ++t) norms.push_back(synchronous.step(t, 1e-2).gradient_norm);
    std::sort(norms.begin(), norms.end());
    ASSERT_LT(norms.front(), norms.back());
  }
  for (const double clip : {0.0, norms[2], 0.5 * norms.front()}) {
    const std::string setting = fmt::format("optimizer.gradient_clip={:.9g}", clip);
    Stepper synchronous(config({setting}));
    Stepper speculative(config({setting, "optimizer.update=speculative"}));
    for (std::int64_t t = 1; t <= 5 && !HasFailure(); ++t) {
      const train::StepResult wanted = synchronous.step(t, 1e-2), got = speculative.step(t, 1e-2);
      EXPECT_EQ(got.loss, wanted.loss) << clip << ", " << t;
      EXPECT_EQ(got.gradient_norm, wanted.gradient_norm) << clip << ", " << t;
      expect_same(speculative.state(), synchronous.state(), t);
      EXPECT_EQ(speculative.read("optimizer.step"), synchronous.read("optimizer.step"));
    }
  }
}

TEST_P(UpdateModeNotFinite, SpeculationIsUndone) {
  Stepper synchronous(config({}));
  Stepper speculative(config({"optimizer.update=speculative"}));
  for (std::int64_t t = 1; t <= 4 && !HasFailure(); ++t) {
    const double rate = t == 2 ? 1e38 : 1e-2;
    const train::StepResult wanted = synchronous.step(t, rate), got = speculative.step(t, rate);
    EXPECT_EQ(got.skipped, wanted.skipped) << t;
    EXPECT_EQ(got.skipped, t >= 3) << t;
    expect_same(speculative.state(), synchronous.state(), t);
  }
}

INSTANTIATE_TEST_SUITE_P(Plans, UpdateMode, ::testing::ValuesIn(kCases),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(Plans, UpdateModeNotFinite,
                         ::testing::Values(kCases[0], kCases[1], kCases[6]),
                         [](const auto& test) { return test.param.name; });

// ---- Whole runs.

void expect_same_checkpoint(const fs::path& a, const fs::path& b, std::int64_t step) {
  const checkpoint::Checkpoint of_a(checkpoint::checkpoint_path(a, step));
  const checkpoint::Checkpoint of_b(checkpoint::checkpoint_path(b, step));
  EXPECT_EQ(of_a.state(), of_b.state());
  ASSERT_EQ(of_a.names(), of_b.names());
  for (const std::string& name : of_a.names()) {
    const auto x = checkpoint::get(of_a, name), y = checkpoint::get(of_b, name);
    ASSERT_EQ(x.bytes.size(), y.bytes.size());
    EXPECT_EQ(std::memcmp(x.bytes.data(), y.bytes.data(), x.bytes.size()), 0) << name;
  }
}

std::vector<std::string> wide(std::vector<std::string> more) {
  more.insert(more.end(), {"model.hidden=64", "model.ffn=96"});
  return more;
}

TEST(DelayedRun, GoesOnBitForBitWithItsPendingGradients) {
  const RunPlace place;
  const std::string file = "memory.file=" + place.path().string() + ":64MiB";
  const auto run = [&](const char* name, std::vector<std::string> more, const Resume& from) {
    more.emplace_back("optimizer.update=delayed");
    return train::train(place.config(name, 6, wide(more)), from);
  };
  ASSERT_EQ(run("whole", {}, {}), RunEnd::done);
  // Neither where tensors lie nor when checkpoints are written changes a number.
  ASSERT_EQ(run("moved", {file, "memory.offload=optimizer,gradients", "checkpoint.every=2"}, {}),
            RunEnd::done);
  expect_same_checkpoint(place.run("whole"), place.run("moved"), 6);
  const Resume from{Resume::Kind::path, checkpoint::checkpoint_path(place.run("whole"), 3)};
  ASSERT_EQ(run("half", {}, from), RunEnd::done);
  expect_same_checkpoint(place.run("whole"), place.run("half"), 6);
  const checkpoint::Checkpoint saved(checkpoint::checkpoint_path(place.run("whole"), 6));
  const std::vector<std::string> names = saved.names();
  EXPECT_EQ(std::count(names.begin(), names.end(), "pending.embedding.weight"), 1);
}

TEST(UpdateModeOfARun, MayChangeOnlyWhereNumbersDoNot) {
  const RunPlace place;
  const auto run = [&](const char* name, const std::string& mode, const Resume& from) {
    return train::train(place.config(name, 6, wide({"optimizer.update=" + mode})), from);
  };
  ASSERT_EQ(run("synchronous", "synchronous", {}), RunEnd::done);
  ASSERT_EQ(run("speculative", "speculative", {}), RunEnd::done);
  expect_same_checkpoint(place.run("synchronous"), place.run("speculative"), 6);
  const auto third = [&](const char* name) {
    return Resume{Resume::Kind::path, checkpoint::checkpoint_path(place.run(name), 3)};
  };
  ASSERT_EQ(run("half", "speculative", third("synchronous")), RunEnd::done);
  ASSERT_EQ(run("other_half", "synchronous", third("speculative")), RunEnd::done);
  for (const char* half : {"half", "other_half"}) {
    expect_same_checkpoint(place.run("synchronous"), place.run(half), 6);
  }
  const std::string message =
      message_of<InputError>([&] { run("later", "delayed", third("synchronous")); });
  EXPECT_NE(message.find("other settings"), std::string::npos) << message;
}

// ---- Plans.

plan::Plan planned(const std::vector<std::string>& more) {
  const RunPlace place;
  std::vector<std::string> all{"model.hidden=256",
                               "model.ffn=512",
                               "model.layers=4",
                               "data.sequence_length=256",
                               "train.global_batch_size=2",
                               "memory.file=/tmp:1GiB"};
  all.insert(all.end(), more.begin(), more.end());
  const config::RunConfig config = place.config("run", 3, all);
  cost::MachineDescription machine = cost::describe_here();
  machine.layer_flops_bf16 = machine.matmul_flops_bf16 = 1e11;
  machine.copy_bandwidth = 1e10;
  machine.file_read_bandwidth = machine.file_write_bandwidth = 5e8;
  passes::Runner passes;
  return train::compile_run(config, models::resolve(config.model, 2000, 256), machine, passes).plan;
}

double predicted(const std::vector<std::string>& settings) {
  return plan::predicted_step_seconds(planned(settings), 1);
}

TEST(UpdateModePlan, HidesTheTransfersOfTheState) {
  const std::string file = "memory.offload=optimizer:file";
  const double resident = predicted({"memory.offload=none"});
  const double exposed = predicted({file}) - resident;
  ASSERT_GT(exposed, 0.1 * resident);
  EXPECT_LT(predicted({file, "optimizer.update=delayed"}) - resident, 0.25 * exposed);
  EXPECT_LT(predicted({file, "optimizer.update=speculative"}) - resident, 0.75 * exposed);
}

TEST(UpdateModePlan, NamesWhatAModeTakes) {
  const auto bytes_of = [](const plan::Plan& plan, std::string_view prefix, ir::Tier tier) {
    std::size_t bytes = 0;
    for (const plan::LedgerEntry& entry : plan::ledger(plan)) {
      if (entry.name.starts_with(prefix) && entry.tier == tier) bytes += entry.bytes;
    }
    return bytes;
  };
  const plan::Plan delayed = planned({"memory.offload=none", "optimizer.update=delayed"});
  EXPECT_EQ(bytes_of(delayed, "pending.", ir::Tier::device),
            bytes_of(delayed, "gradient.", ir::Tier::device));
  const plan::Plan speculative =
      planned({"memory.offload=optimizer:file", "optimizer.update=speculative"});
  EXPECT_EQ(bytes_of(speculative, "next.optimizer.m.", ir::Tier::file),
            bytes_of(speculative, "optimizer.m.", ir::Tier::file));
  EXPECT_GT(bytes_of(speculative, "next.layers.", ir::Tier::file), 0u);
  for (const plan::Plan* plan : {&delayed, &speculative}) {
    std::map<ir::Tier, std::size_t> sums;
    for (const plan::LedgerEntry& entry : plan::ledger(*plan)) sums[entry.tier] += entry.bytes;
    for (const auto& [tier, sum] : sums) EXPECT_EQ(sum, plan->bytes(tier));
  }
}

}  // namespace
}  // namespace bessemer::testing
