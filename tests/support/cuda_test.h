// A test of what runs on a CUDA device: skipped, with the reason, where there is none.
#pragma once

#include <gtest/gtest.h>

#include "support/cuda_device.h"

namespace bessemer::testing {

class CudaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device() == nullptr) GTEST_SKIP() << why_no_cuda_device();
  }
};

}  // namespace bessemer::testing
