// Sums of many pairs of tensors on a CUDA device.
#include <gtest/gtest.h>

#include "kernels/cuda/cuda.h"
#include "support/cuda_test.h"
#include "support/thread_orders.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;

using CudaAddAll = CudaTest;

// More tensors than a launch takes, some of several blocks, some of none; in place and apart.
TEST_F(CudaAddAll, HasTheBitsOfOneByOne) {
  const std::int64_t sizes[] = {768, 1, 0, 1024, 5000, 1031, 8};
  Operands pairs;
  std::vector<TensorType> types;
  std::vector<std::pair<int, int>> in_place;
  for (int i = 0; i < 600; ++i) {
    types.push_back({DType::fp32, {sizes[i % 7]}});
    pairs.push_back(normal(types.back(), 2 * i));
    pairs.push_back(normal(types.back(), 2 * i + 1));
    if (i % 3 != 0) in_place.emplace_back(i, 2 * i);
  }
  const KernelRun run = run_in_each_thread_order(cuda::add_all, pairs, types, {});
  const KernelRun shared = run_cuda_kernel(cuda::add_all, pairs, types, {}, in_place);
  ASSERT_FALSE(run.declined);
  for (std::size_t i = 0; i < types.size(); ++i) {
    const KernelRun one =
        run_cuda_kernel(cuda::add, {pairs[2 * i], pairs[2 * i + 1]}, {types[i]}, {});
    EXPECT_TRUE(same_bits(run.results[i], one.results[0])) << i;
    EXPECT_TRUE(same_bits(shared.results[i], one.results[0])) << i << " in place";
  }
}

TEST_F(CudaAddAll, DeclinesOtherDtypes) {
  const TensorType type{DType::bf16, {4}};
  EXPECT_TRUE(run_cuda_kernel(cuda::add_all, {Tensor(type), Tensor(type)}, {type}, {}).declined);
}

}  // namespace
}  // namespace bessemer::testing
