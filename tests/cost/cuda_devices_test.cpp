// CUDA devices that are planned for by name, and those that are here.
#include <gtest/gtest.h>

#include "base/error.h"
#include "cost/cuda_devices.h"
#include "ops/op.h"

namespace bessemer::cost {
namespace {

TEST(CudaDevices, KeepWhatTheHostIs) {
  const MachineDescription host = describe_here();
  for (const std::string_view name : known_cuda_devices()) {
    const MachineDescription machine = assumed_cuda_machine(name, host);
    EXPECT_EQ(machine.cpu.device, kernels::Backend::cuda) << name;
    EXPECT_GE(machine.cpu.compute_capability, 80) << name;
    EXPECT_EQ(machine.cpu.threads, host.cpu.threads) << name;
    EXPECT_GT(machine.device_memory, std::size_t{20} << 30) << name;
    EXPECT_GT(machine.copy_bandwidth, 10 * machine.host_bandwidth) << name;
    EXPECT_GE(machine.matmul_flops_bf16, machine.layer_flops_bf16) << name;
    EXPECT_FALSE(machine.measured) << name;
    EXPECT_NE(machine.name.find("assumed"), std::string::npos) << name;
  }
}

TEST(CudaDevices, AnUnknownNameIsRefusedWithTheKnownOnes) {
  try {
    assumed_cuda_machine("b9000", describe_here());
    FAIL() << "b9000 is known";
  } catch (const InputError& error) {
    const std::string text = error.what();
    for (const auto part : {"b9000", "h100", "a100-80gb"}) {
      EXPECT_NE(text.find(part), std::string::npos) << text;
    }
  }
}

TEST(CudaDevices, MultiplyFp32FasterInTf32) {
  const std::vector<std::optional<TensorType>> operands(2, TensorType{DType::fp32, {4096, 4096}});
  const std::vector<TensorType> results(1, {DType::fp32, {4096, 4096}});
  const auto seconds = [&](const MachineDescription& machine, const Attributes& attributes) {
    const ops::OpUse use{operands, attributes};
    return predicted_seconds(use, ops::definition_of("matmul").work(use, results), machine);
  };
  const MachineDescription host = describe_here(), h100 = assumed_cuda_machine("h100", host);
  EXPECT_LT(3 * seconds(h100, {{"tf32", true}}), seconds(h100, {}));
  EXPECT_EQ(seconds(host, {{"tf32", true}}), seconds(host, {}));  // no such units
}

TEST(CudaDevices, OnesThatAreHereAreFoundByName) {
  const MachineDescription host = describe_here();
  const MachineDescription h100 = assumed_cuda_machine("h100", host);
  const std::size_t bytes = std::size_t{81559} << 20;
  const MachineDescription here = assumed_cuda_machine({"NVIDIA H100 80GB HBM3", 90, bytes}, host);
  EXPECT_EQ(here.matmul_flops_bf16, h100.matmul_flops_bf16);
  EXPECT_LT(here.device_memory, bytes);
  EXPECT_GT(here.device_memory, bytes - bytes / 20);
  // Not the faster one whose name begins alike.
  EXPECT_LT(assumed_cuda_machine({"NVIDIA H100 PCIe", 90, bytes}, host).matmul_flops_bf16,
            h100.matmul_flops_bf16);
}

TEST(CudaDevices, UnknownOnesAreTakenForTheirGeneration) {
  const MachineDescription host = describe_here();
  const auto rate = [&](int compute_capability) {
    return assumed_cuda_machine({"NVIDIA Something", compute_capability, std::size_t{16} << 30},
                                host)
        .matmul_flops_bf16;
  };
  EXPECT_EQ(rate(80), assumed_cuda_machine("a100-40gb", host).matmul_flops_bf16);
  EXPECT_EQ(rate(89), assumed_cuda_machine("rtx-4090", host).matmul_flops_bf16);
  EXPECT_EQ(rate(120), assumed_cuda_machine("h100-pcie", host).matmul_flops_bf16);
}

TEST(CudaDevices, DriverNamesHaveTheirDataSheets) {
  ASSERT_NE(data_sheet("NVIDIA H100 PCIe"), nullptr);
  EXPECT_EQ(data_sheet("NVIDIA H100 PCIe")->name, "h100-pcie");
  EXPECT_EQ(data_sheet("NVIDIA H100 80GB HBM3, driver CUDA 13.0")->name, "h100");
  EXPECT_EQ(data_sheet("NVIDIA Something"), nullptr);
}

TEST(CudaDevices, MeasuredOnesHaveWhatWasMeasured) {
  kernels::cuda::DeviceRates rates;
  rates.fp32 = {1, 2, 3};
  rates.bf16 = {4, 5, 6};
  rates.fp8 = {13, 14, 0};
  rates.tf32_layer = 15;
  rates.softmax_rate = 7;
  rates.copy_bandwidth = 8;
  rates.to_device_bandwidth = 9;
  rates.from_device_bandwidth = 10;
  rates.both_ways_bandwidth = 11;
  rates.launch_seconds = 12;
  const MachineDescription assumed = assumed_cuda_machine("h100", describe_here());
  const MachineDescription machine = with_rates(assumed, rates);
  EXPECT_TRUE(machine.measured);
  EXPECT_EQ(machine.name, assumed.name);
  EXPECT_EQ(machine.matmul_flops(DType::fp32), 1);
  EXPECT_EQ(machine.layer_flops(DType::fp32), 2);
  EXPECT_EQ(machine.attention_flops(DType::fp32), 3);
  EXPECT_EQ(machine.matmul_flops(DType::bf16), 4);
  EXPECT_EQ(machine.layer_flops(DType::bf16), 5);
  EXPECT_EQ(machine.attention_flops(DType::bf16), 6);
  EXPECT_EQ(machine.matmul_flops(DType::fp8_e4m3), 13);
  EXPECT_EQ(machine.layer_flops(DType::fp8_e4m3), 14);
  EXPECT_EQ(machine.layer_flops_tf32, 15);
  EXPECT_EQ(machine.copy_bandwidth, 8);
  EXPECT_EQ(machine.to_device_bandwidth, 9);
  EXPECT_EQ(machine.from_device_bandwidth, 10);
  EXPECT_EQ(machine.host_bandwidth, 11);
  EXPECT_EQ(machine.instruction_overhead, 12);
  // Of seven logits, whose arithmetic takes the second in which they were measured.
  const ops::OpUse logits{
      {TensorType{DType::fp32, {1, 7}}, TensorType{DType::int32, {1}}, TensorType{DType::fp32, {}}},
      {}};
  const ops::OpDefinition& op = ops::definition_of("cross_entropy_rows_train");
  EXPECT_NEAR(op.work(logits, op.infer(logits)).vector_flops / machine.vector_flops, 1, 1e-12);
}

// The products of a head of 768 columns take longer than its softmax.
TEST(CudaDevices, ASoftmaxIsAsDearAsItsBytes) {
  const MachineDescription h100 = assumed_cuda_machine("h100", describe_here());
  const double logits = 8192.0 * 50304;
  ops::Work softmax;
  softmax.vector_flops = 120 * logits;
  ops::Work products;
  products.unit = ops::Unit::product;
  products.flops = 3 * 2 * 768 * logits;
  EXPECT_LT(predicted_seconds(softmax, DType::bf16, h100),
            predicted_seconds(products, DType::bf16, h100) / 2);
}

}  // namespace
}  // namespace bessemer::cost
