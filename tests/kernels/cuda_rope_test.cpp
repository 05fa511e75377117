#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "support/cuda_sweep.h"
#include "support/cuda_test.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;

/// Head sizes of models, and such whose halves are not of whole packs; more tokens than a block
/// has; none.
const std::vector<Shape> kShapes{{1, 1, 1, 2},   {2, 5, 3, 20},  {2, 7, 4, 64},   {1, 3, 32, 128},
                                 {1, 70, 2, 96}, {1, 2, 1, 512}, {1, 200, 1, 16}, {2, 0, 4, 64}};

Tensor positions(const Shape& x, std::int64_t below) {
  return integers({DType::int32, {x[0], x[1]}}, 5, 0, below);
}

class CudaRope : public CudaTest {};

TEST_F(CudaRope, AgreesWithReference) {
  for (const DType dtype : fast_dtypes()) {
    for (const Shape& shape : kShapes) {
      const TensorType x{dtype, shape};
      SweepCase c{cuda::rope,
                  reference::rope,
                  {normal(x, 1), positions(shape, 5000)},
                  {x},
                  {{"theta", 10000.0}}};
      expect_cuda_agreement(c, to_string(x));
      c.attributes.set("inverse", true);
      c.share = {{0, 0}};
      expect_cuda_agreement(c, to_string(x) + " back, in place");
    }
  }
}

// Angles that fp32 could not hold.
TEST_F(CudaRope, IsRightAtFarPositions) {
  const TensorType x{DType::fp32, {1, 9, 2, 64}};
  expect_cuda_agreement({cuda::rope,
                         reference::rope,
                         {normal(x, 1), positions(x.shape, INT32_MAX)},
                         {x},
                         {{"theta", 10000.0}}},
                        "far");
}

TEST_F(CudaRope, ScalesWithItsAttentionFactor) {
  const TensorType x{DType::fp32, {2, 9, 2, 64}};
  expect_cuda_agreement({cuda::rope,
                         reference::rope,
                         {normal(x, 1), positions(x.shape, 900)},
                         {x},
                         {{"theta", 10000.0},
                          {"scaling", std::string("yarn")},
                          {"factor", 4.0},
                          {"original_context", std::int64_t{64}}}},
                        "yarn");
}

TEST_F(CudaRope, DeclinesWhatItsParametersCannotHold) {
  const TensorType x{DType::fp32, {1, 1, 1, 514}};
  EXPECT_TRUE(
      run_cuda_kernel(cuda::rope, {normal(x, 1), positions(x.shape, 9)}, {x}, {{"theta", 10000.0}})
          .declined);
}

}  // namespace
}  // namespace bessemer::testing
