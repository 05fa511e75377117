// CUDA devices that are planned for by name, and those that are here.
#include <gtest/gtest.h>

#include "base/error.h"
#include "cost/cuda_devices.h"

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

}  // namespace
}  // namespace bessemer::cost
