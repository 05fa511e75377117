#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "support/cuda_sweep.h"
#include "support/cuda_test.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;

struct Sum {
  Shape x;
  std::vector<std::int64_t> dims;
  Shape y;
};

/// Rows, fewer and more than one partial sum has; runs, likewise; all; and dimensions apart.
const std::vector<Sum> kSums{
    {{64, 768}, {0}, {768}},        {{3, 130, 40}, {1}, {3, 40}}, {{200, 33}, {0}, {33}},
    {{2, 65, 300}, {0, 1}, {300}},  {{1, 8}, {0}, {8}},           {{0, 8}, {0}, {8}},
    {{20, 64}, {1}, {20}},          {{3, 5000}, {1}, {3}},        {{2, 40000}, {1}, {2}},
    {{2, 33001}, {0, 1}, {}},       {{9, 67}, {1}, {9}},          {{4, 6, 8}, {0, 2}, {6}},
    {{4, 6, 3, 5}, {1, 3}, {4, 3}}, {{5, 1, 7}, {0, 1, 2}, {}},
};

class CudaReduceSum : public CudaTest {};

TEST_F(CudaReduceSum, AgreesWithReference) {
  for (const DType from : fast_dtypes()) {
    for (const DType to : fast_dtypes()) {
      for (const Sum& s : kSums) {
        const TensorType x{from, s.x}, y{to, s.y};
        SweepCase c{cuda::reduce_sum,
                    reference::reduce_sum,
                    {normal(x, 1), std::nullopt},
                    {y},
                    {{"dims", s.dims}}};
        c.tolerance_factor = 4;
        expect_cuda_agreement(c, to_string(x) + " to " + to_string(y));
        c.operands[1] = normal(y, 2);
        c.share = {{0, 1}};
        expect_cuda_agreement(c, to_string(x) + " in place to " + to_string(y));
      }
    }
  }
}

// A sum of rows that is cut at a multiple of 64 has the bits of the whole.
TEST_F(CudaReduceSum, KeepsItsBitsInParts) {
  const Attributes rows{{"dims", std::vector<std::int64_t>{0}}};
  const TensorType y{DType::fp32, {24}};
  const Tensor x = normal({DType::bf16, {300, 24}}, 1);
  const auto part = [&](std::int64_t begin, std::int64_t end) {
    Tensor some({DType::bf16, {end - begin, 24}});
    for (std::int64_t i = 0; i < some.size(); ++i) some.set(i, x.get(begin * 24 + i));
    return some;
  };
  const Tensor whole = run_cuda_kernel(cuda::reduce_sum, {x}, {y}, rows).results[0];
  const Tensor first = run_cuda_kernel(cuda::reduce_sum, {part(0, 192)}, {y}, rows).results[0];
  const Tensor both =
      run_cuda_kernel(cuda::reduce_sum, {part(192, 300), first}, {y}, rows).results[0];
  EXPECT_TRUE(same_bits(both, whole));
}

TEST_F(CudaReduceSum, DeclinesOtherFloats) {
  EXPECT_TRUE(run_cuda_kernel(cuda::reduce_sum, {normal({DType::fp64, {3, 2}}, 1)},
                              {{DType::fp64, {2}}}, {{"dims", std::vector<std::int64_t>{0}}})
                  .declined);
}

}  // namespace
}  // namespace bessemer::testing
