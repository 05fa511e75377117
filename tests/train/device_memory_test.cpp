#include "train/device_memory.h"

#include <gtest/gtest.h>

#include "support/cuda_device.h"

namespace bessemer::testing {
namespace {

TEST(DeviceMemory, IsNothingOnTheProcessor) {
  EXPECT_EQ(train::DeviceMemory(nullptr).text(1 << 20), "");
}

TEST(CudaDeviceMemory, IsWhatTheDeviceHasLess) {
  if (cuda_device() == nullptr) GTEST_SKIP() << why_no_cuda_device();
  const std::shared_ptr<kernels::cuda::Device> device = new_cuda_device();
  const train::DeviceMemory memory(device);
  constexpr std::size_t kBytes = std::size_t{1} << 28;
  void* const taken = device->allocate(kBytes);
  EXPECT_EQ(memory.text(kBytes), "device memory: planned 0.250 GiB, taken 0.250 GiB (+0.0%)");
  EXPECT_EQ(memory.text(kBytes / 2), "device memory: planned 0.125 GiB, taken 0.250 GiB (+100.0%)");
  void* const on_the_host = device->allocate_host(kBytes / 8);
  device->free(taken);
  EXPECT_EQ(memory.text(kBytes), "device memory: planned 0.250 GiB, taken 0.000 GiB (-100.0%)");
  device->free_host(on_the_host);
}

}  // namespace
}  // namespace bessemer::testing
