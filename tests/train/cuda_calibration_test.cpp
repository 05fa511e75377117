// The rates of a CUDA device, measured (on the null device, whose seconds are made up), kept, and
// found again.
#include <gtest/gtest.h>

#include "cost/cuda_devices.h"
#include "support/cuda_device.h"
#include "train/run.h"

namespace bessemer::testing {
namespace {

kernels::cuda::CalibrationSizes small() {
  kernels::cuda::CalibrationSizes sizes;
  sizes.square_fp32 = sizes.square_bf16 = sizes.rows = sizes.hidden = sizes.tokens = 32;
  sizes.batch = sizes.heads = 1;
  sizes.logit_rows = 4;
  sizes.vocabulary = 64;
  sizes.copied_bytes = sizes.link_bytes = 4096;
  sizes.graph_instructions = 4;
  sizes.rounds = sizes.most_runs = 1;
  return sizes;
}

cost::MachineDescription described(const std::string& name, const std::string& driver) {
  return cost::assumed_cuda_machine({name, 80, std::size_t{40} << 30, driver},
                                    cost::describe_here());
}

class CudaCalibration : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device() == nullptr) GTEST_SKIP() << why_no_cuda_device();
  }

  RunPlace place_;
};

TEST_F(CudaCalibration, IsKeptForThisDeviceAndDriver) {
  const auto machine = described("NVIDIA A100-SXM4-80GB", "CUDA 13.0");
  EXPECT_FALSE(train::with_kept_rates(machine).measured);
  const auto measured = train::calibrate(*cuda_device(), machine, small());
  EXPECT_TRUE(measured.measured);
  EXPECT_NE(measured.copy_bandwidth, machine.copy_bandwidth);

  const auto kept = train::with_kept_rates(machine);
  EXPECT_TRUE(kept.measured);
  EXPECT_EQ(kept.name, machine.name);
  EXPECT_EQ(kept.device_memory, machine.device_memory);
  EXPECT_EQ(kept.cpu.device, kernels::Backend::cuda);
  EXPECT_EQ(kept.matmul_flops_bf16, measured.matmul_flops_bf16);
  EXPECT_EQ(kept.attention_flops_bf16, measured.attention_flops_bf16);
  EXPECT_EQ(kept.vector_flops, measured.vector_flops);
  EXPECT_EQ(kept.host_bandwidth, measured.host_bandwidth);
  EXPECT_EQ(kept.instruction_overhead, measured.instruction_overhead);

  for (const auto& other : {described("NVIDIA A100-SXM4-80GB", "CUDA 13.1"),
                            described("NVIDIA A100-SXM4-40GB", "CUDA 13.0")}) {
    EXPECT_FALSE(train::with_kept_rates(other).measured) << other.name;
    // Nor under a file's name that is the same by accident.
    cost::save(measured, train::calibration_path(other));
    EXPECT_FALSE(train::with_kept_rates(other).measured) << other.name;
  }
}

TEST_F(CudaCalibration, LeavesTheProcessorsAlone) {
  const std::string before = read_file(train::calibration_path());
  const auto measured =
      train::calibrate(*cuda_device(), described("NVIDIA L40S", "CUDA 13.0"), small());
  train::keep_calibration(measured);
  EXPECT_EQ(read_file(train::calibration_path()), before);
  EXPECT_EQ(train::known_machine().cpu.device, kernels::Backend::cpu);
}

TEST_F(CudaCalibration, ABrokenFileIsNamed) {
  const auto machine = described("NVIDIA L40S", "CUDA 13.0");
  const auto measured = train::calibrate(*cuda_device(), machine, small());
  write_file_atomically(train::calibration_path(machine), "{}");
  try {
    train::with_kept_rates(machine);
    FAIL() << "a file without rates is read";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("nvidia-l40s-driver-cuda-13.0.json"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace bessemer::testing
