#include <gtest/gtest.h>

#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "support/kernel_runner.h"
#include "support/thread_orders.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;

class CudaDropout : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device() == nullptr) GTEST_SKIP() << "there is no CUDA device";
  }
};

// One element, tails, rows of a model, several blocks; in place and in both orders the same bits.
TEST_F(CudaDropout, AgreesWithReference) {
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    for (const Shape& shape :
         {Shape{}, Shape{3, 5}, Shape{2, 4096}, Shape{5, 1027}, Shape{13, 768}}) {
      for (const double probability : {0.0, 0.1, 0.999}) {
        const TensorType t{dtype, shape};
        SCOPED_TRACE(to_string(t));
        const Operands operands{normal(t, 1), of({DType::int64, {3}}, {1234567890123.0, -5, 3})};
        const Attributes attributes{{"probability", probability}, {"site", 9}};
        const Tensor expected =
            run_kernel(reference::dropout, operands, {t}, attributes).results[0];
        const KernelRun run = run_cuda_kernel(cuda::dropout, operands, {t}, attributes);
        ASSERT_FALSE(run.declined) << *run.declined;
        EXPECT_LE(relative_difference(run.results[0], expected),
                  dtype == DType::bf16 ? 0x1p-8 : 1e-6);
        in_each_thread_order([&] {
          const KernelRun again =
              run_cuda_kernel(cuda::dropout, operands, {t}, attributes, {{0, 0}});
          EXPECT_TRUE(same_bits(again.results[0], run.results[0]));
        });
      }
    }
  }
}

TEST_F(CudaDropout, DropsExactlyWhatTheReferenceDrops) {
  Tensor ones({DType::fp32, {20, 1003}});
  for (std::int64_t i = 0; i < ones.size(); ++i) ones.set(i, 1);
  const Tensor counter = of({DType::int64, {3}}, {42, 7, 1});
  const Attributes attributes{{"probability", 0.3}, {"site", 2}};
  const KernelRun run = run_cuda_kernel(cuda::dropout, {ones, counter}, {ones.type()}, attributes);
  const Tensor expected =
      run_kernel(reference::dropout, {ones, counter}, {ones.type()}, attributes).results[0];
  std::int64_t dropped = 0;
  for (std::int64_t i = 0; i < ones.size(); ++i) {
    ASSERT_EQ(run.results[0].get(i), expected.get(i)) << i;
    dropped += run.results[0].get(i) == 0;
  }
  EXPECT_NEAR(static_cast<double>(dropped) / static_cast<double>(ones.size()), 0.3, 0.02);
}

TEST_F(CudaDropout, DeclinesHalfAndRefusesWhatIsNoProbability) {
  const TensorType half{DType::fp16, {4}}, single{DType::fp32, {4}};
  const Tensor counter = of({DType::int64, {3}}, {42, 7, 1});
  EXPECT_TRUE(run_cuda_kernel(cuda::dropout, {normal(half, 1), counter}, {half},
                              {{"probability", 0.3}, {"site", 2}})
                  .declined);
  EXPECT_THROW(run_cuda_kernel(cuda::dropout, {normal(single, 1), counter}, {single},
                               {{"probability", 1.0}, {"site", 2}}),
               Error);
}

}  // namespace
}  // namespace bessemer::testing
