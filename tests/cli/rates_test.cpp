#include "cli/rates.h"

#include <gtest/gtest.h>

namespace bessemer::cli {
namespace {

TEST(Rates, OfADeviceStandBesideItsDataSheet) {
  cost::MachineDescription machine = cost::assumed_cuda_machine("h100", cost::describe_here());
  machine.matmul_flops_bf16 = 741.75e12;
  machine.instruction_overhead = 1.5e-6;
  const std::string text = device_rates(machine, cost::data_sheet("NVIDIA H100 80GB HBM3"));
  for (const char* part : {"matmul bf16             741.8 TFLOP/s, 75% of 989.0\n", "% of 3350.0\n",
                           "1.5 us, in a captured graph\n"}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

TEST(Rates, OfAnUnknownDeviceStandAlone) {
  const cost::MachineDescription machine =
      cost::assumed_cuda_machine("h100", cost::describe_here());
  EXPECT_EQ(device_rates(machine, nullptr).find('%'), std::string::npos);
}

}  // namespace
}  // namespace bessemer::cli
