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

// Cut after whole blocks of 64 rows, each part added to the one before.
TEST(ReduceSum, ASumOfRowsCutInPartsHasTheBitsOfTheWhole) {
  constexpr std::int64_t kWidth = 37;
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    const TensorType sums{DType::fp32, {kWidth}};
    const Attributes attributes{{"dims", Shape{0}}, {"dtype", std::string("fp32")}};
    const Tensor x = normal({dtype, {500, kWidth}}, 1);
    const Tensor addend = normal(sums, 2);
    const auto sum = [&](const std::vector<std::int64_t>& cuts) {
      Tensor so_far = addend;
      for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
        Tensor part({dtype, {cuts[i + 1] - cuts[i], kWidth}});
        for (std::int64_t e = 0; e < part.size(); ++e) part.set(e, x.get(cuts[i] * kWidth + e));
        const KernelRun run =
            run_kernel(cpu::reduce_sum, {part, so_far}, {sums}, attributes, 0, {{0, 1}});
        EXPECT_FALSE(run.declined);
        so_far = run.results[0];
      }
      return so_far;
    };
    const Tensor whole = sum({0, 500});
    EXPECT_TRUE(same_bits(sum({0, 64, 320, 500}), whole));
    for (std::int64_t c = 0; c < kWidth; ++c) {
      double expected = addend.get(c);
      for (std::int64_t row = 0; row < 500; ++row) expected += x.get(row * kWidth + c);
      EXPECT_NEAR(whole.get(c), expected, 1e-3);
    }
  }
}

}  // namespace
}  // namespace bessemer::testing
