#include <gtest/gtest.h>

#include "cli/command.h"
#include "kernels/cuda/device.h"

namespace bessemer::cli {
namespace {

using DoctorTest = CommandTest;

TEST_F(DoctorTest, ShowsGpusOrWhyThereAreNone) {
  const Outcome outcome = run({"doctor"});
  EXPECT_EQ(outcome.code, kDone) << outcome.err;
  const kernels::cuda::Survey survey = kernels::cuda::survey();
  for (const auto& device : survey.devices) {
    EXPECT_NE(outcome.out.find(device.name), std::string::npos) << outcome.out;
  }
  if (survey.devices.empty()) {
    EXPECT_NE(outcome.out.find("none: " + survey.problem + "\n"), std::string::npos) << outcome.out;
  }
}

}  // namespace
}  // namespace bessemer::cli
