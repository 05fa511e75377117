// Whole steps on a CUDA device, or the null device: losses near the processor's, and the same bits
// whatever the plan does.
#include <gtest/gtest.h>

#include "base/parallel.h"
#include "cost/cuda_devices.h"
#include "support/cuda_device.h"
#include "train/run.h"
#include "train/stepper.h"
#ifndef BESSEMER_CUDA
#include "kernels/cuda/null/stream.h"
#endif

namespace bessemer::testing {
namespace {

constexpr int kSteps = 2;

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

OnCuda run_on_cuda(const config::RunConfig& config, int order = 0) {
  const auto machine = cost::assumed_cuda_machine("a100-80gb", cost::describe_here());
  runtime::ExecutorOptions options;
  options.cuda_device = new_device(order);
  Stepper stepper(config, machine, options);
  OnCuda on_cuda{run(stepper), {}};
  on_cuda.state = stepper.state();
  return on_cuda;
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
    std::vector<std::string> all{"model.layers=1",
                                 "model.hidden=64",
                                 "model.ffn=96",
                                 "memory.recompute=none",
                                 "optimizer.gradient_clip=0.5",
                                 std::string("precision.recipe=") + GetParam()};
    all.insert(all.end(), more.begin(), more.end());
    return place_.config("run", 10, all);
  }
  double tolerance() const { return GetParam() == std::string("fp32") ? 2e-4 : 2e-2; }

  RunPlace place_;

 private:
  int threads_ = thread_count();
};

TEST_P(CudaRun, HasTheLossesOfTheProcessor) {
  for (const auto& more : {std::vector<std::string>{},
                           {"model.architecture=gpt2", "model.kv_heads=2", "model.context=16"}}) {
    const config::RunConfig same = config(more);
    Stepper on_cpu(same);
    const Losses expected = run(on_cpu);
    const Losses found = run_on_cuda(same).losses;
    for (std::size_t t = 0; t < expected.losses.size(); ++t) {
      EXPECT_NEAR(found.losses[t], expected.losses[t], tolerance() * expected.losses[t]) << t;
      EXPECT_NEAR(found.norms[t], expected.norms[t], 5 * tolerance() * expected.norms[t]) << t;
    }
  }
}

TEST_P(CudaRun, HasTheSameBitsHoweverItIsPlanned) {
  const OnCuda expected = run_on_cuda(config({}));
  const std::vector<std::vector<std::string>> plans{
      {"memory.recompute=full"},
      {"memory.recompute=selective"},
      {"memory.offload=optimizer"},
      {"memory.offload=optimizer,gradients,parameters,activations"},
      {"optimizer.update=speculative"},
      {"optimizer.update=speculative", "memory.offload=optimizer,gradients"}};
  for (const auto& plan : plans) {
    const OnCuda found = run_on_cuda(config(plan));
    EXPECT_EQ(found.losses, expected.losses) << plan.back();
    for (const auto& [name, bytes] : expected.state) {
      EXPECT_TRUE(found.state.at(name) == bytes) << plan.back() << ": " << name;
    }
  }
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

INSTANTIATE_TEST_SUITE_P(Recipes, CudaRun, ::testing::Values("fp32", "bf16"),
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
