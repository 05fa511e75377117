// Runs on a CUDA device, or the null device, that nobody waits for: each has its own data and
// results, and what is asked for later is of the run that was asked for. The null device does
// nothing before somebody waits, so data that the host writes over too early, or a result that it
// reads too early, are wrong there.
#include <array>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "cost/cuda_devices.h"
#include "ir/text.h"
#include "plan/plan.h"
#include "runtime/executor.h"
#include "support/counting_device.h"
#include "support/cuda_device.h"

namespace bessemer::testing {
namespace {

constexpr int kSize = 8;

// Adds up what it is given; the result is the sum so far.
const char* const kGraph = R"(graph g
data %x: fp32[8] "x"
gradient %sum: fp32[8] "sum"
%y: fp32[8] = add(%sum, %x)
return "y" %y
write "sum" %y
)";

class CudaRuns : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device() == nullptr) GTEST_SKIP() << why_no_cuda_device();
    device_ = std::make_shared<CountingDevice>(new_cuda_device());
    runtime::ExecutorOptions options;
    options.cuda_device = device_;
    executor_.emplace(plan_, options);
  }

  void set(float x) const {
    for (int i = 0; i < kSize; ++i) executor_->data("g", "x").as<float>()[i] = x;
  }
  // Writes over the data as soon as the run has been started.
  runtime::Ticket run(float x) const {
    set(x);
    const runtime::Ticket ticket = executor_->run("g");
    set(-1e9F);
    return ticket;
  }
  float result(const runtime::Ticket& ticket) const {
    const float* y = executor_->result(ticket, executor_->result_port("g", "y")).as<float>();
    for (int i = 0; i < kSize; ++i) EXPECT_EQ(y[i], y[0]) << i;
    return y[0];
  }

  ir::Graph graph_ = ir::parse(kGraph);
  plan::Plan plan_ =
      plan::make_plan({&graph_}, cost::assumed_cuda_machine("a100-80gb", cost::describe_here()));
  std::shared_ptr<CountingDevice> device_;
  std::optional<runtime::Executor> executor_;
};

TEST_F(CudaRuns, HaveTheirOwnDataAndResults) {
  for (int round = 0; round < 3; ++round) {
    std::vector<runtime::Ticket> runs;
    for (std::size_t i = 0; i < runtime::kRunsKept; ++i) {
      runs.push_back(run(static_cast<float>(i + 1)));
    }
    const auto before = static_cast<float>(10 * round);
    EXPECT_EQ(result(runs[3]), before + 10);  // the latest first
    EXPECT_EQ(result(runs[0]), before + 1);
    EXPECT_EQ(result(runs[2]), before + 6);
    EXPECT_EQ(result(runs[1]), before + 3);
  }
}

TEST_F(CudaRuns, WaitOnlyForTheOldestOfTooMany) {
  device_->drains = device_->waits = 0;
  std::vector<runtime::Ticket> runs;
  for (std::size_t i = 0; i < runtime::kRunsKept; ++i) runs.push_back(run(1));
  EXPECT_EQ(device_->waits, 0);
  runs.push_back(run(1));
  EXPECT_EQ(device_->waits, 1);
  EXPECT_TRUE(executor_->is_done(runs[0]));
#ifndef BESSEMER_CUDA
  EXPECT_FALSE(executor_->is_done(runs[1]));
#endif
  for (int i = 0; i < 20; ++i) runs.push_back(run(1));
  EXPECT_EQ(result(runs[runs.size() - runtime::kRunsKept]), 22);
  EXPECT_EQ(result(runs.back()), 25);
  EXPECT_EQ(device_->drains, 0);
  EXPECT_TRUE(executor_->is_done(runs[1]));
  EXPECT_THROW(result(runs[runs.size() - runtime::kRunsKept - 1]), Error);
}

TEST_F(CudaRuns, AreOverForWhoeverReadsATensor) {
  for (int i = 0; i < 3; ++i) run(2);
  std::vector<float> sum(kSize);
  executor_->read("sum", std::as_writable_bytes(std::span(sum)));
  EXPECT_EQ(sum[7], 6);
  run(2);
  const std::vector<float> set(kSize, 100);
  executor_->write("sum", std::as_bytes(std::span(set)));
  EXPECT_EQ(result(run(2)), 102);
  EXPECT_EQ(executor_->result("g", "y").as<float>()[0], 102) << "of the latest run";
}

TEST_F(CudaRuns, MakeNothingOnceTheyAreSteady) {
  for (int i = 0; i < 2; ++i) run(1);  // queued, then captured
  device_->made = 0;
  for (int i = 0; i < 10; ++i) result(run(1));
  EXPECT_EQ(device_->made, 0);
}

TEST_F(CudaRuns, MayBeUnderWayAtTheEnd) {
  for (int i = 0; i < 3; ++i) run(1);
  executor_.reset();
  EXPECT_GT(device_->drains, 0) << "memory that is still worked on must not be freed";
}

TEST_F(CudaRuns, HaveNoResultBeforeTheFirst) { EXPECT_THROW(executor_->result("g", "y"), Error); }

}  // namespace
}  // namespace bessemer::testing
