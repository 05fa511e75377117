// The calibration cache: what is saved comes back, what is broken or of another machine does not.
#include "cost/machine.h"

#include <fstream>

#include <stdlib.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/temporary_directory.h"
#include "cost/cuda_devices.h"

namespace bessemer::cost {
namespace {

class Calibration : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return directory_.path() / "machine.json"; }

  TemporaryDirectory directory_;
};

TEST_F(Calibration, ComesBack) {
  MachineDescription machine = describe_here();
  machine.matmul_flops_fp32 = 3e11;
  machine.host_bandwidth = 5e9;
  machine.directories["/scratch"] = {2e9, 1e9};
  save(machine, path());
  const auto loaded = load(path(), describe_here());
  ASSERT_TRUE(loaded.has_value());
  EXPECT_TRUE(loaded->measured);
  EXPECT_EQ(loaded->matmul_flops_fp32, 3e11);
  EXPECT_EQ(loaded->host_bandwidth, 5e9);
  ASSERT_EQ(loaded->directories.size(), 1u);
  EXPECT_EQ(loaded->directories.at("/scratch").read, 2e9);
  EXPECT_EQ(loaded->directories.at("/scratch").write, 1e9);
}

TEST_F(Calibration, RatesOfFp8AreThoseOfBf16WhereThereAreNone) {
  MachineDescription machine = describe_here();
  save(machine, path());
  EXPECT_EQ(load(path(), describe_here())->layer_flops(DType::fp8_e4m3), machine.layer_flops_bf16);
  machine.layer_flops_fp8 = 2e14;
  machine.matmul_flops_fp8 = 3e14;
  save(machine, path());
  EXPECT_EQ(load(path(), describe_here())->layer_flops(DType::fp8_e5m2), 2e14);
  EXPECT_EQ(load(path(), describe_here())->matmul_flops(DType::fp8_e4m3), 3e14);
  const TensorType q{DType::fp8_e4m3, {512, 512}}, scale{DType::fp32, {}};
  const ops::OpUse use{{q, scale, q, scale}, {}};
  const ops::Work work{.flops = 4e14, .unit = ops::Unit::product};
  EXPECT_NEAR(predicted_seconds(use, work, machine), 2, 1e-4) << "at the rate of its operands";
}

TEST_F(Calibration, OfADeviceComesBack) {
  MachineDescription machine = assumed_cuda_machine(
      {"NVIDIA H100 80GB HBM3", 90, std::size_t{80} << 30, "CUDA 13.0"}, describe_here());
  const MachineDescription assumed = machine;
  machine.vector_flops = 2e13;
  machine.layer_flops_tf32 = 3e14;
  machine.to_device_bandwidth = 5.5e10;
  machine.from_device_bandwidth = 5e10;
  machine.instruction_overhead = 1.5e-6;
  save(machine, path());
  const auto loaded = load(path(), assumed);
  ASSERT_TRUE(loaded.has_value());
  EXPECT_TRUE(loaded->measured);
  EXPECT_EQ(loaded->cpu.device, kernels::Backend::cuda);
  EXPECT_EQ(loaded->device_memory, assumed.device_memory);
  EXPECT_EQ(loaded->vector_flops, 2e13);
  EXPECT_EQ(loaded->layer_flops_tf32, 3e14);
  EXPECT_EQ(loaded->to_device_bandwidth, 5.5e10);
  EXPECT_EQ(loaded->from_device_bandwidth, 5e10);
  EXPECT_EQ(loaded->instruction_overhead, 1.5e-6);
}

// Files of before there was a rate of element-wise arithmetic.
TEST_F(Calibration, WithoutAVectorRateHasTheShareOfProducts) {
  std::ofstream(path()) << R"({"name": ")" << describe_here().name
                        << R"(", "matmul_flops_fp32": 16, "matmul_flops_bf16": 1,)"
                        << R"( "layer_flops_fp32": 1, "layer_flops_bf16": 1,)"
                        << R"( "attention_flops_fp32": 1, "attention_flops_bf16": 1,)"
                        << R"( "copy_bandwidth": 1, "host_bandwidth": 3})";
  const auto loaded = load(path(), describe_here());
  ASSERT_TRUE(loaded.has_value());
  EXPECT_EQ(loaded->vector_flops, 2);
  EXPECT_EQ(loaded->to_device_bandwidth, 3);
  EXPECT_EQ(loaded->instruction_overhead, describe_here().instruction_overhead);
}

TEST_F(Calibration, OfAnotherMachineOrVersionIsNone) {
  MachineDescription machine = describe_here();
  machine.name = "another";
  save(machine, path());
  EXPECT_FALSE(load(path(), describe_here()).has_value());
  std::ofstream(path()) << R"({"name": ")" << describe_here().name
                        << R"(", "matmul_flops_fp32": 1, "matmul_flops_bf16": 1,)"
                        << R"( "copy_bandwidth": 1})";  // before there were tiers
  EXPECT_FALSE(load(path(), describe_here()).has_value());
}

TEST_F(Calibration, ThatIsBrokenIsNamed) {
  std::ofstream(path()) << R"({"name": ")" << describe_here().name
                        << R"(", "matmul_flops_fp32": 1, "matmul_flops_bf16": 1,)"
                        << R"( "layer_flops_fp32": 1, "layer_flops_bf16": 1,)"
                        << R"( "attention_flops_fp32": 1, "attention_flops_bf16": 1,)"
                        << R"( "copy_bandwidth": 1, "host_bandwidth": 1,)"
                        << R"( "directories": {"/a": {"read": 1, "write": -1}}})";
  try {
    load(path(), describe_here());
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("directories: '/a': 'write' must be a positive"),
              std::string::npos)
        << error.what();
  }
}

TEST(Transfer, TakesItsLinksTime) {
  MachineDescription machine;
  machine.instruction_overhead = 0;
  machine.host_bandwidth = 4;
  machine.file_read_bandwidth = 2;
  machine.file_write_bandwidth = 1;
  EXPECT_EQ(transfer_seconds(8, ir::Tier::host, Direction::to_device, machine), 2);
  EXPECT_EQ(transfer_seconds(8, ir::Tier::host, Direction::from_device, machine), 2);
  EXPECT_EQ(transfer_seconds(8, ir::Tier::file, Direction::to_device, machine), 4);
  EXPECT_EQ(transfer_seconds(8, ir::Tier::file, Direction::from_device, machine), 8);
}

}  // namespace
}  // namespace bessemer::cost
