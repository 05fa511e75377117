#include "kernels/cpu/cpu.h"
#include "kernels/reference/reference.h"
#include "support/kernel_sweep.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;
namespace reference = kernels::reference;

struct Case {
  Shape shape;
  std::vector<std::int64_t> dims;
};

TensorType reduced(const Case& c, DType dtype) {
  TensorType type{dtype, {}};
  const auto rank = static_cast<std::int64_t>(c.shape.size());
  for (std::int64_t d = 0; d < rank; ++d) {
    bool gone = false;
    for (const std::int64_t g : c.dims) gone = gone || g == d || g + rank == d;
    if (!gone) type.shape.push_back(c.shape[static_cast<std::size_t>(d)]);
  }
  return type;
}

TEST(ReduceSum, AgreesWithReference) {
  const std::vector<Case> cases{{{7}, {0}},          {{50000}, {0}},
                                {{3, 5}, {0}},       {{3, 5}, {1}},
                                {{3, 5}, {0, 1}},    {{3, 5}, {}},
                                {{1000, 33}, {0}},   {{4, 100, 70}, {0, 1}},
                                {{2, 300, 17}, {1}}, {{2, 3, 20, 40}, {-1, -2}},
                                {{3, 40000}, {1}},   {{1, 9, 1, 5}, {0, 2}},
                                {{0, 4}, {0}},       {{5, 0}, {1}},
                                {{6, 1, 4, 8}, {2}}};
  for (const DType from : fast_dtypes()) {
    for (const DType to : fast_dtypes()) {
      for (const Case& k : cases) {
        SweepCase c{cpu::reduce_sum,
                    reference::reduce_sum,
                    {normal({from, k.shape}, 1)},
                    {reduced(k, to)},
                    {{"dims", k.dims}}};
        c.tolerance_factor = 4;
        expect_agreement(c, "reduce_sum " + to_string(k.shape));
      }
    }
  }
}

TEST(ReduceSum, DeclinesSeparatedDimensions) {
  const Case k{{3, 4, 5}, {0, 2}};
  const KernelRun run = run_kernel(cpu::reduce_sum, {normal({DType::fp32, k.shape}, 1)},
                                   {reduced(k, DType::fp32)}, {{"dims", k.dims}});
  ASSERT_TRUE(run.declined);
  EXPECT_NE(run.declined->find("neighbours"), std::string::npos);
}

}  // namespace
}  // namespace bessemer::testing
