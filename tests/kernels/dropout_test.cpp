#include "kernels/cpu/cpu.h"
#include "kernels/reference/reference.h"
#include "support/kernel_sweep.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;
namespace reference = kernels::reference;

TEST(Dropout, AgreesWithReference) {
  const std::vector<std::vector<double>> counters{{0, 0, 0}, {1234567890123.0, 77, 3}, {-5, 1, 2}};
  for (const DType dtype : fast_dtypes()) {
    for (const Shape& shape :
         {Shape{1}, Shape{3, 5}, Shape{1024}, Shape{5, 1027}, Shape{40, 999}}) {
      const TensorType type{dtype, shape};
      for (const auto& counter : counters) {
        for (const double probability : {0.0, 0.1, 0.5, 0.999}) {
          SweepCase c{cpu::dropout,
                      reference::dropout,
                      {normal(type, 1), of({DType::int64, {3}}, counter)},
                      {type},
                      {{"probability", probability}, {"site", 9}}};
          expect_agreement(c, "dropout " + to_string(type));
          c.share = {{0, 0}};
          expect_agreement(c, "dropout in place " + to_string(type));
        }
      }
    }
  }
}

TEST(Dropout, DropsExactlyWhatTheReferenceDrops) {
  Tensor ones({DType::fp32, {100, 1003}});
  for (std::int64_t i = 0; i < ones.size(); ++i) ones.set(i, 1);
  const Tensor counter = of({DType::int64, {3}}, {42, 7, 1});
  const Attributes attributes{{"probability", 0.3}, {"site", 2}};
  const Tensor fast =
      run_kernel(cpu::dropout, {ones, counter}, {ones.type()}, attributes).results[0];
  const Tensor slow =
      run_kernel(reference::dropout, {ones, counter}, {ones.type()}, attributes).results[0];
  std::int64_t dropped = 0;
  for (std::int64_t i = 0; i < ones.size(); ++i) {
    ASSERT_EQ(fast.get(i) == 0, slow.get(i) == 0) << i;
    dropped += fast.get(i) == 0;
  }
  EXPECT_NEAR(static_cast<double>(dropped) / static_cast<double>(ones.size()), 0.3, 0.01);
}

}  // namespace
}  // namespace bessemer::testing
