// Whole steps on a CUDA device, or the null device: losses near the processor's, and the same bits
// whatever the plan does.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include <gtest/gtest.h>

#include "base/parallel.h"
#include "cost/cuda_devices.h"
#include "support/counting_device.h"
#include "support/cuda_device.h"
#include "support/cuda_test.h"
#include "train/run.h"
#include "train/stepper.h"
#ifndef BESSEMER_CUDA
#include "kernels/cuda/null/stream.h"
#endif

namespace bessemer::testing {
namespace {

constexpr int kSteps = 2, kLateSteps = 4;

std::shared_ptr<kernels::cuda::Device> new_device(int order) {
#ifdef BESSEMER_CUDA
  static_cast<void>(order);
  return kernels::cuda::open_device(0);
#else
  using Order = kernels::cuda::null::StreamOrder;
  constexpr Order kOrders[] = {Order::last_stream_first, Order::first_stream_first,
                               Order::in_turns};
  return kernels::cuda::null::make_null_device(kOrders[order]);
#endif
}

struct Losses {
  std::vector<double> losses, norms;
  bool operator==(const Losses&) const = default;
};

Losses run(Stepper& stepper) {
  Losses run;
  for (std::int64_t t = 1; t <= kSteps; ++t) {
    const train::StepResult result = stepper.step(t, 1e-2);
    run.losses.push_back(result.loss);
    run.norms.push_back(result.gradient_norm);
  }
  return run;
}

struct OnCuda {
  Losses losses;
  State state;
};

// Of the kind that the device is: fp8 is for some.
cost::MachineDescription cuda_machine() {
  const bool hopper = cuda_device()->properties().compute_capability == 90;
  return cost::assumed_cuda_machine(hopper ? "h100" : "a100-80gb", cost::describe_here());
}

OnCuda run_on_cuda(const config::RunConfig& config, int order = 0) {
  const cost::MachineDescription machine = cuda_machine();
  runtime::ExecutorOptions options;
  options.cuda_device = new_device(order);
  Stepper stepper(config, machine, options);
  OnCuda on_cuda{run(stepper), {}};
  on_cuda.state = stepper.state();
  return on_cuda;
}

// Of what a test is named after. Layers in fp8 have sizes that are multiples of 128, tokens too.
std::vector<std::string> precision_of(const std::string& name) {
  if (name == "bf16_parameters") return {"precision.recipe=bf16", "precision.parameters=bf16"};
  if (!name.starts_with("fp8_")) return {"precision.recipe=" + name};
  return {"precision.recipe=fp8", "precision.fp8_scaling=" + name.substr(4),
          "model.hidden=128",     "model.ffn=256",
          "model.kv_heads=2",     "data.sequence_length=64"};
}

class CudaRun : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (cuda_device() == nullptr) GTEST_SKIP() << why_no_cuda_device();
    set_thread_count(1);  // products this small gain nothing from more
  }
  void TearDown() override { set_thread_count(threads_); }

  // Large enough for its matrices to be moved (16 KiB and more).
  config::RunConfig config(std::vector<std::string> more) const {
    std::vector<std::string> all{"model.layers=1", "model.hidden=64", "model.ffn=96",
                                 "memory.recompute=none", "optimizer.gradient_clip=0.5"};
    const std::vector<std::string> precision = precision_of(GetParam());
    all.insert(all.end(), precision.begin(), precision.end());
    all.insert(all.end(), more.begin(), more.end());
    return place_.config("run", 10, all);
  }
  double tolerance() const {
    const std::string recipe = GetParam();
    return recipe == "fp32" ? 2e-4 : recipe == "tf32" ? 2e-3 : 2e-2;
  }

  void expect_losses_of_the_processor(const std::vector<std::string>& more) const {
    const config::RunConfig same = config(more);
    Stepper on_cpu(same);
    const Losses expected = run(on_cpu);
    const Losses found = run_on_cuda(same).losses;
    for (std::size_t t = 0; t < expected.losses.size(); ++t) {
      EXPECT_NEAR(found.losses[t], expected.losses[t], tolerance() * expected.losses[t]) << t;
      EXPECT_NEAR(found.norms[t], expected.norms[t], 5 * tolerance() * expected.norms[t]) << t;
    }
  }

  void expect_same_bits(const std::vector<std::vector<std::string>>& plans) const {
    const OnCuda expected = run_on_cuda(config({}));
    for (const auto& plan : plans) {
      const OnCuda found = run_on_cuda(config(plan));
      EXPECT_EQ(found.losses, expected.losses) << plan.back();
      for (const auto& [name, bytes] : expected.state) {
        EXPECT_TRUE(found.state.at(name) == bytes) << plan.back() << ": " << name;
      }
    }
  }

  RunPlace place_;

 private:
  int threads_ = thread_count();
};

TEST_P(CudaRun, HasTheLossesOfTheProcessor) {
  expect_losses_of_the_processor({});
  expect_losses_of_the_processor(
      {"model.architecture=gpt2", "model.kv_heads=2", "model.context=16"});
}

TEST_P(CudaRun, HasTheSameBitsHoweverItIsPlanned) {
  expect_same_bits({{"memory.recompute=full"},
                    {"memory.recompute=selective"},
                    {"memory.offload=optimizer"},
                    {"memory.offload=optimizer,gradients,parameters,activations"},
                    {"optimizer.update=speculative"},
                    {"optimizer.update=speculative", "memory.offload=optimizer,gradients"}});
}

TEST_P(CudaRun, HasTheSameBitsHoweverItsStreamsAreMixed) {
  const config::RunConfig all =
      config({"memory.offload=optimizer,gradients,parameters,activations"});
  const OnCuda expected = run_on_cuda(all, 0);
  for (const int order : {1, 2}) {
    const OnCuda found = run_on_cuda(all, order);
    EXPECT_EQ(found.losses, expected.losses) << order;
    EXPECT_TRUE(found.state == expected.state) << order;
  }
}

// Logits of a prompt and of three tokens after it, each from the caches of those before.
std::vector<float> logits_of(const config::RunConfig& config,
                             const cost::MachineDescription& machine,
                             const runtime::ExecutorOptions& options) {
  const models::Architecture model =
      models::resolve(config.model, kVocabulary, config.data.sequence_length);
  passes::Runner passes;
  const plan::Plan plan =
      train::compile_generation(model, train::precision_of(config.precision), 64, machine, passes);
  const runtime::Executor executor(plan, options);
  train::draw_parameters(model, 1, train::into(executor));
  if (executor.find("refresh").valid()) executor.run("refresh");
  std::vector<float> all;
  std::int32_t position = 0;
  const auto feed = [&](const char* program, std::int64_t tokens) {
    for (std::int64_t i = 0; i < tokens; ++i, ++position) {
      executor.data(program, "tokens").as<std::int32_t>()[i] = 7 * position % kVocabulary;
      executor.data(program, "positions").as<std::int32_t>()[i] = position;
      auto* const sees = executor.data(program, "visibility").as<std::int32_t>() + 2 * i;
      sees[0] = 0;
      sees[1] = position + 1;
    }
    executor.run(program);
    const runtime::TensorBytes logits = executor.result(program, "logits");
    all.insert(all.end(), logits.as<float>(), logits.as<float>() + kVocabulary);
  };
  feed("prefill", train::kPrefillTokens);
  for (int i = 0; i < 3; ++i) feed("decode", 1);
  return all;
}

TEST_P(CudaRun, GeneratesAsTheProcessor) {
  runtime::ExecutorOptions options;
  options.cuda_device = new_device(0);
  const cost::MachineDescription machine = cuda_machine();
  const std::vector<float> expected = logits_of(config({}), cost::describe_here(), {});
  const std::vector<float> found = logits_of(config({}), machine, options);
  ASSERT_EQ(found.size(), expected.size());
  double largest = 0, difference = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    difference = std::max(difference, std::abs(static_cast<double>(found[i]) - expected[i]));
  }
  EXPECT_LE(difference, tolerance() * largest);
  EXPECT_GT(largest, 0);
}

// Each step's numbers are asked for when the next one has been started, as the trainer does.
TEST_P(CudaRun, ReadLateHasTheSameBits) {
  for (const char* update : {"synchronous", "delayed", "speculative"}) {
    SCOPED_TRACE(update);
    // Clips some steps and others not: then a speculation is now taken back, now kept.
    const config::RunConfig same =
        config({std::string("optimizer.update=") + update, "optimizer.gradient_clip=3"});
    OnCuda steps[2];
    for (const bool late : {false, true}) {
      const auto machine = cuda_machine();
      runtime::ExecutorOptions options;
      options.cuda_device = new_device(0);
      Stepper stepper(same, machine, options);
      OnCuda& found = steps[late ? 1 : 0];
      const auto keep = [&](const train::StepResult& result) {
        found.losses.losses.push_back(result.loss);
        found.losses.norms.push_back(result.gradient_norm);
      };
      std::optional<train::StartedStep> before;
      for (std::int64_t t = 1; t <= kLateSteps; ++t) {
        const train::StartedStep now = stepper.start(t, 1e-2 / static_cast<double>(t));
        if (before) keep(stepper.result(*before));
        if (!late) keep(stepper.result(now));
        if (late) before = now;
      }
      if (before) keep(stepper.result(*before));
      found.state = stepper.state();
    }
    EXPECT_EQ(steps[1].losses, steps[0].losses);
    EXPECT_EQ(steps[0].losses.losses.size(), static_cast<std::size_t>(kLateSteps));
    EXPECT_TRUE(steps[1].state == steps[0].state);
  }
}

// A step that is neither clipped nor taken back is the speculation's alone, learning rate included.
TEST_P(CudaRun, SpeculatesWhatASynchronousStepDoes) {
  const OnCuda expected = run_on_cuda(config({"optimizer.gradient_clip=0"}));
  const OnCuda found =
      run_on_cuda(config({"optimizer.gradient_clip=0", "optimizer.update=speculative"}));
  EXPECT_EQ(found.losses, expected.losses);
  for (const auto& [name, bytes] : expected.state) {
    EXPECT_TRUE(found.state.at(name) == bytes) << name;
  }
}

TEST_P(CudaRun, WaitsForTheStepBeforeAndForNothingElse) {
  for (const char* update : {"synchronous", "delayed"}) {
    SCOPED_TRACE(update);
    const auto machine = cuda_machine();
    runtime::ExecutorOptions options;
    const auto counting = std::make_shared<CountingDevice>(new_device(0));
    options.cuda_device = counting;
    Stepper stepper(config({std::string("optimizer.update=") + update}), machine, options);
    std::optional<train::StartedStep> before;
    constexpr int kWarm = 4;  // a delayed step is captured once for either side of its exchange
    for (std::int64_t t = 1; t <= kWarm + 3; ++t) {
      if (t == kWarm + 1) counting->made = counting->drains = counting->waits = 0;
      const train::StartedStep now = stepper.start(t, 1e-2);
      if (before) stepper.result(*before);
#ifndef BESSEMER_CUDA
      EXPECT_FALSE(stepper.is_done(now)) << t;
#endif
      before = now;
    }
    EXPECT_EQ(counting->drains, 0);
    EXPECT_LE(counting->waits, 3);  // none where the device was first
    EXPECT_EQ(counting->made, 0);
    stepper.result(*before);
  }
}

// Sanitizers look for mistakes that all recipes share.
#ifdef __SANITIZE_ADDRESS__
const std::vector<const char*> kRecipes{"fp32", "bf16_parameters"}, kScalings{"fp8_delayed"};
#else
const std::vector<const char*> kRecipes{"fp32", "tf32", "bf16", "bf16_parameters"};
const std::vector<const char*> kScalings{"fp8_current", "fp8_delayed", "fp8_block"};
#endif

INSTANTIATE_TEST_SUITE_P(Recipes, CudaRun, ::testing::ValuesIn(kRecipes),
                         [](const auto& recipe) { return std::string(recipe.param); });

// TF32 is of the device's products, and of none of the processor's.
TEST_F(CudaTest, Tf32ShowsOnTheDeviceAlone) {
  const RunPlace place;
  const auto config = [&](const char* recipe) {
    return place.config("run", 10, {std::string("precision.recipe=") + recipe});
  };
  const config::RunConfig tf32 = config("tf32"), fp32 = config("fp32");
  EXPECT_NE(run_on_cuda(tf32).losses, run_on_cuda(fp32).losses);
  Stepper in_tf32(tf32), in_fp32(fp32);
  EXPECT_EQ(run(in_tf32), run(in_fp32));
}

// Layers in 8 bits, whose steps are larger.
class CudaFp8Run : public CudaRun {
 protected:
  /// How often each is in the plan for an H100.
  std::map<std::string, int, std::less<>> kernels_of_a_micro_batch() const {
    const auto machine = cost::assumed_cuda_machine("h100", cost::describe_here());
    passes::Runner passes;
    const config::RunConfig run = config({});
    const models::Architecture model =
        models::resolve(run.model, kVocabulary, run.data.sequence_length);
    const plan::Plan plan = train::compile_run(run, model, machine, passes).plan;
    std::map<std::string, int, std::less<>> count;
    for (const plan::Instruction& instruction : plan.program("accumulate_first").instructions) {
      ++count[instruction.kernel];
    }
    return count;
  }
};

TEST_P(CudaFp8Run, HasTheLossesOfTheProcessor) {
  expect_losses_of_the_processor({});
  expect_losses_of_the_processor({"model.architecture=gpt2", "model.context=64"});
}

TEST_P(CudaFp8Run, HasTheSameBitsHoweverItIsPlanned) {
  expect_same_bits(
      {{"memory.recompute=full"}, {"memory.offload=optimizer,gradients,parameters,activations"}});
}

// Products of the layers forward, backward and of weights are the device's, where it has such.
TEST_P(CudaFp8Run, MultipliesIn8Bits) {
  auto count = kernels_of_a_micro_batch();
  EXPECT_EQ(count["cuda.scaled_matmul"], 3 * 7);  // q, k, v, o, gate, up, down
  EXPECT_EQ(count["cuda.scaled_matmul_dequantized"], 0);
}

// Where a scale is known before the tensor is; of the norms the last is not quantized.
TEST_P(CudaFp8Run, QuantizesWhereTensorsAreMade) {
  auto count = kernels_of_a_micro_batch();
  const bool known = GetParam() != std::string("fp8_current");
  EXPECT_EQ(count["cuda.swiglu"] + count["cuda.swiglu_grad"], 0);
  EXPECT_EQ(count["cuda.rms_norm"], known ? 1 : 3);
  EXPECT_EQ(count["cuda.norm_statistics"], known ? 2 : 0);
  // Two of a program; without, of what attention makes for o, backward for q, k and v, and dropout
  // for o and down.
  EXPECT_EQ(count["cuda.amax"], known ? 0 : 2 + 6);
}

INSTANTIATE_TEST_SUITE_P(Scalings, CudaFp8Run, ::testing::ValuesIn(kScalings),
                         [](const auto& recipe) { return std::string(recipe.param); });

// What is planned for a device of its own fits its memory, not this machine's.
TEST(CudaPlan, HasTheBudgetsOfItsDevice) {
  const RunPlace place;
  const auto machine = cost::assumed_cuda_machine("rtx-4090", cost::describe_here());
  const config::MemoryConfig budgets = train::budgets_of({}, machine);
  EXPECT_EQ(budgets.device->count, machine.device_memory);
  EXPECT_EQ(budgets.host->count, train::memory_of_this_machine());
  config::MemoryConfig given;
  given.device = config::Bytes{1 << 20};
  EXPECT_EQ(train::budgets_of(given, machine).device, given.device);
  EXPECT_EQ(train::budgets_of(given, cost::describe_here()), given);
}

}  // namespace
}  // namespace bessemer::testing
