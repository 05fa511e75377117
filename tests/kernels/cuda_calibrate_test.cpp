// Measuring a device's rates, on problems so small that the figures mean nothing: that all of it
// runs, and counts bytes and flops as it says.
#include "kernels/cuda/calibrate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "support/counting_device.h"
#include "support/cuda_test.h"

namespace bessemer::kernels::cuda {
namespace {

CalibrationSizes small() {
  CalibrationSizes sizes;
  sizes.square_fp32 = 32;
  sizes.square_bf16 = 48;
  sizes.rows = 16;
  sizes.hidden = 32;
  sizes.batch = sizes.heads = 1;
  sizes.tokens = 64;
  sizes.logit_rows = 4;
  sizes.vocabulary = 64;
  sizes.copied_bytes = sizes.link_bytes = std::size_t{1} << 16;
  sizes.graph_instructions = 4;
  sizes.rounds = sizes.most_runs = 2;
  return sizes;
}

using CudaCalibrate = bessemer::testing::CudaTest;

TEST_F(CudaCalibrate, EveryRateIsThere) {
  const DeviceRates rates = measure_rates(*bessemer::testing::cuda_device(), small());
  for (const double rate :
       {rates.fp32.peak, rates.fp32.layer, rates.fp32.attention, rates.fp8.peak, rates.fp8.layer,
        rates.tf32_layer, rates.bf16.peak, rates.bf16.layer, rates.bf16.attention,
        rates.softmax_rate, rates.copy_bandwidth, rates.to_device_bandwidth,
        rates.from_device_bandwidth, rates.both_ways_bandwidth, rates.launch_seconds}) {
    EXPECT_TRUE(std::isfinite(rate));
    EXPECT_GT(rate, 0);
  }
}

#ifndef BESSEMER_CUDA
// Each piece of work takes the null device a microsecond.
TEST_F(CudaCalibrate, RatesAreWorkOverSeconds) {
  constexpr double kPiece = 1e-6;
  const CalibrationSizes sizes = small();
  const DeviceRates rates = measure_rates(*bessemer::testing::cuda_device(), sizes);
  EXPECT_NEAR(rates.fp32.peak * kPiece, 2.0 * 32 * 32 * 32, 1);
  EXPECT_NEAR(rates.bf16.peak * kPiece, 2.0 * 48 * 48 * 48, 1);
  EXPECT_NEAR(rates.tf32_layer, rates.fp32.layer, 1e6);
  EXPECT_NEAR(rates.fp8.peak, rates.bf16.peak, 1e6);
  EXPECT_NEAR(rates.fp8.layer, rates.bf16.layer, 1e6);
  // Three products, a piece each.
  EXPECT_NEAR(rates.bf16.layer * kPiece, 2.0 * 16 * 32 * 128, 1);
  EXPECT_NEAR(rates.copy_bandwidth * kPiece, 2.0 * 65536, 1);
  EXPECT_NEAR(rates.to_device_bandwidth * kPiece, 65536, 1);
  EXPECT_NEAR(rates.from_device_bandwidth * kPiece, 65536, 1);
  EXPECT_NEAR(rates.both_ways_bandwidth * kPiece, 65536 / 2.0, 1);
  EXPECT_NEAR(rates.launch_seconds, kPiece * (4 + 1) / 4, 1e-9);  // the launch is a piece, too
}

/// The null device as one that does not multiply fp8.
class OlderDevice final : public bessemer::testing::CountingDevice {
 public:
  OlderDevice() : CountingDevice({std::shared_ptr<void>(), bessemer::testing::cuda_device()}) {}
  DeviceProperties properties() const override {
    DeviceProperties properties = CountingDevice::properties();
    properties.compute_capability = 80;
    return properties;
  }
};

TEST_F(CudaCalibrate, WithoutFp8ItsOperandsAreBroughtToBf16First) {
  OlderDevice device;
  const DeviceRates rates = measure_rates(device, small());
  EXPECT_LT(rates.fp8.peak, rates.bf16.peak);
  EXPECT_LT(rates.fp8.layer, rates.bf16.layer);
  EXPECT_GT(rates.fp8.layer, 0);
}
#endif

}  // namespace
}  // namespace bessemer::kernels::cuda
