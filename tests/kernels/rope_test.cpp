#include "kernels/cpu/cpu.h"
#include "kernels/reference/reference.h"
#include "support/kernel_sweep.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;
namespace reference = kernels::reference;

TEST(Rope, AgreesWithReference) {
  const std::vector<Attributes> attributes{
      {{"theta", 10000.0}},
      {{"theta", 500000.0}, {"inverse", true}},
      {{"theta", 10000.0}, {"scaling", "linear"}, {"factor", 4.0}},
      {{"theta", 500000.0},
       {"scaling", "llama3"},
       {"factor", 8.0},
       {"low_frequency_factor", 1.0},
       {"high_frequency_factor", 4.0},
       {"original_context", 8192}},
      {{"theta", 10000.0}, {"scaling", "yarn"}, {"factor", 4.0}, {"original_context", 2048}}};
  const std::vector<Shape> shapes{{1, 1, 1, 2},  {2, 3, 2, 6},   {2, 5, 3, 16},
                                  {1, 9, 4, 64}, {3, 17, 2, 96}, {2, 300, 2, 128}};
  for (const DType dtype : fast_dtypes()) {
    for (const Shape& shape : shapes) {
      const TensorType x{dtype, shape}, positions{DType::int32, {shape[0], shape[1]}};
      for (const Attributes& a : attributes) {
        SweepCase c{
            cpu::rope, reference::rope, {normal(x, 1), integers(positions, 2, 0, 100000)}, {x}, a};
        expect_agreement(c, "rope " + to_string(x) + to_string(a));
        c.share = {{0, 0}};
        expect_agreement(c, "rope in place " + to_string(x) + to_string(a));
      }
    }
  }
}

TEST(Rope, FarAndNegativePositions) {
  const TensorType x{DType::fp32, {1, 4, 2, 32}};
  const Tensor positions = of({DType::int32, {1, 4}}, {0, -7, 2147483647, -2147483648.0});
  SweepCase c{cpu::rope, reference::rope, {normal(x, 1), positions}, {x}, {{"theta", 10000.0}}};
  c.tolerance_factor = 3;  // the baseline has no fused multiply-add for the reduction
  expect_agreement(c, "far");
}

TEST(Rope, DeclinesHugeHeads) {
  const TensorType x{DType::fp32, {1, 1, 1, 2048}};
  EXPECT_TRUE(run_kernel(cpu::rope, {normal(x, 1), integers({DType::int32, {1, 1}}, 1, 0, 4)}, {x},
                         {{"theta", 10000.0}})
                  .declined);
}

}  // namespace
}  // namespace bessemer::testing
