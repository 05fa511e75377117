#include "kernels/cpu/calibrate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace bessemer::kernels::cpu {
namespace {

TEST(Calibrate, MeasuresSomethingFinite) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the kernels have tests of their own; with sanitizers they take long to measure";
#endif
  for (const double rate : {measure_matmul_peak(DType::fp32), measure_matmul_peak(DType::bf16),
                            measure_copy_bandwidth(), measure_link_bandwidth()}) {
    EXPECT_TRUE(std::isfinite(rate));
    EXPECT_GT(rate, 0);
  }
}

TEST(Calibrate, RefusesOtherDtypes) { EXPECT_THROW(measure_matmul_peak(DType::int8), Error); }

}  // namespace
}  // namespace bessemer::kernels::cpu
