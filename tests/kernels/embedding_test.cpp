#include "kernels/cpu/cpu.h"
#include "kernels/reference/reference.h"
#include "support/kernel_sweep.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;
namespace reference = kernels::reference;

struct Case {
  std::int64_t vocabulary, hidden;
  Shape ids;
};

const std::vector<Case> kCases{{1, 1, {1}},      {5, 3, {2, 4}},    {11, 64, {3, 7}},
                               {40, 257, {130}}, {9, 768, {2, 40}}, {4, 8, {0}}};

Shape with(Shape shape, std::int64_t last) {
  shape.push_back(last);
  return shape;
}

/// Ids some of which lie outside the vocabulary, on both sides.
Tensor some_ids(const Case& k) { return integers({DType::int32, k.ids}, 7, -2, k.vocabulary + 2); }

TEST(Embedding, AgreesWithReference) {
  for (const DType from : fast_dtypes()) {
    for (const DType to : fast_dtypes()) {
      for (const Case& k : kCases) {
        const Tensor table = normal({from, {k.vocabulary, k.hidden}}, 1);
        expect_agreement({cpu::embedding,
                          reference::embedding,
                          {table, some_ids(k)},
                          {{to, with(k.ids, k.hidden)}}},
                         "embedding " + to_string(table.type()));
      }
    }
  }
}

TEST(Embedding, GradAgreesWithReference) {
  for (const DType dtype : fast_dtypes()) {
    for (const Case& k : kCases) {
      const Tensor dy = normal({dtype, with(k.ids, k.hidden)}, 1);
      const TensorType sum{DType::fp32, {k.vocabulary, k.hidden}};
      const Attributes rows{{"rows", k.vocabulary}};
      SweepCase c{cpu::embedding_grad,
                  reference::embedding_grad,
                  {dy, some_ids(k), std::nullopt},
                  {sum},
                  rows};
      c.tolerance_factor = 4;
      expect_agreement(c, "embedding_grad " + to_string(sum));
      c.operands[2] = normal(sum, 3);
      expect_agreement(c, "embedding_grad with addend " + to_string(sum));
      c.share = {{0, 2}};
      expect_agreement(c, "embedding_grad in place " + to_string(sum));
    }
  }
}

TEST(Embedding, DeclinesOtherSums) {
  const TensorType sum{DType::fp64, {4, 2}};
  EXPECT_TRUE(run_kernel(cpu::embedding_grad,
                         {normal({DType::fp64, {3, 2}}, 1), integers({DType::int32, {3}}, 1, 0, 4)},
                         {sum}, {{"rows", 4}})
                  .declined);
}

}  // namespace
}  // namespace bessemer::testing
