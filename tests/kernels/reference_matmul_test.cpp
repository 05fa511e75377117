#include <gtest/gtest.h>

#include "kernels/reference/reference.h"
#include "support/gradient_check.h"

namespace bessemer::kernels {
namespace {

using namespace testing;

Tensor multiply_matrices(const Operands& operands, const TensorType& result,
                         const Attributes& attributes = {}) {
  return run_kernel(reference::matmul, operands, {result}, attributes).results[0];
}

TEST(ReferenceMatmul, TwoByThreeTimesThreeByTwo) {
  const Tensor a = of(fp64({2, 3}), {1, 2, 3, 4, 5, 6});
  const Tensor b = of(fp64({3, 2}), {7, 8, 9, 10, 11, 12});
  const Tensor y = multiply_matrices({a, b}, fp64({2, 2}));
  EXPECT_TRUE(same_bits(y, of(fp64({2, 2}), {58, 64, 139, 154})));
}

TEST(ReferenceMatmul, TransposesAreThoseOfTheStoredMatrices) {
  const Tensor a = of(fp64({2, 3}), {1, 2, 3, 4, 5, 6});
  const Tensor at = of(fp64({3, 2}), {1, 4, 2, 5, 3, 6});
  const Tensor b = of(fp64({3, 2}), {7, 8, 9, 10, 11, 12});
  const Tensor bt = of(fp64({2, 3}), {7, 9, 11, 8, 10, 12});
  const Tensor expected = of(fp64({2, 2}), {58, 64, 139, 154});
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      const Tensor y = multiply_matrices({ta ? at : a, tb ? bt : b}, fp64({2, 2}),
                                         {{"transpose_a", ta}, {"transpose_b", tb}});
      EXPECT_TRUE(same_bits(y, expected)) << ta << tb;
    }
  }
}

TEST(ReferenceMatmul, ASharedMatrixServesEveryBatchAndABatchedOneItsOwn) {
  const Tensor a = of(fp64({2, 1, 2}), {1, 2, 3, 4});
  const Tensor shared = of(fp64({2, 2}), {1, 10, 100, 1000});
  EXPECT_TRUE(same_bits(multiply_matrices({a, shared}, fp64({2, 1, 2})),
                        of(fp64({2, 1, 2}), {201, 2010, 403, 4030})));
  const Tensor batched = of(fp64({2, 2, 2}), {1, 10, 100, 1000, 0, 1, 1, 0});
  EXPECT_TRUE(same_bits(multiply_matrices({a, batched}, fp64({2, 1, 2})),
                        of(fp64({2, 1, 2}), {201, 2010, 4, 3})));
  // Batched with both transposed: each matrix by itself.
  const Tensor at = of(fp64({2, 2, 1}), {1, 2, 3, 4});
  const Tensor bt = of(fp64({2, 2, 2}), {1, 100, 10, 1000, 0, 1, 1, 0});
  EXPECT_TRUE(same_bits(
      multiply_matrices({at, bt}, fp64({2, 1, 2}), {{"transpose_a", true}, {"transpose_b", true}}),
      of(fp64({2, 1, 2}), {201, 2010, 4, 3})));
}

TEST(ReferenceMatmul, BiasThenActivationThenAddend) {
  const Tensor a = of(fp64({1, 1}), {2});
  const Tensor b = of(fp64({1, 2}), {1, -1});
  const Tensor bias = of({DType::fp32, {2}}, {-1, 3});  // products + bias: 1, 1
  const Tensor addend = of(fp64({1, 2}), {10, 20});
  struct Case {
    const char* activation;
    double at_one;
  };
  for (const Case& c : {Case{"none", 1.0}, Case{"gelu", 0.84134474606854304},
                        Case{"gelu_tanh", 0.84119199060827676}, Case{"silu", 0.7310585786300049}}) {
    const Tensor y =
        multiply_matrices({a, b, bias, addend}, fp64({1, 2}), {{"activation", c.activation}});
    EXPECT_NEAR(y.get(0), c.at_one + 10, 1e-14) << c.activation;
    EXPECT_NEAR(y.get(1), c.at_one + 20, 1e-14) << c.activation;
  }
  const Tensor y = multiply_matrices({a, b, std::nullopt, addend}, fp64({1, 2}));
  EXPECT_TRUE(same_bits(y, of(fp64({1, 2}), {12, 18})));
}

TEST(ReferenceMatmul, RoundsToTheResultDtypeOnlyOnce) {
  const Tensor a = of({DType::bf16, {1, 2}}, {1, 1});
  const Tensor b = of({DType::bf16, {2, 1}}, {1, 0.0078125});
  EXPECT_EQ(multiply_matrices({a, b}, {DType::bf16, {1, 1}}).get(0), 1.0078125);
  const Tensor half = of({DType::bf16, {2, 1}}, {1, 0.00390625});  // 1 + 2^-8: a tie, to even
  EXPECT_EQ(multiply_matrices({a, half}, {DType::bf16, {1, 1}}).get(0), 1.0);
  EXPECT_EQ(multiply_matrices({a, half}, {DType::fp32, {1, 1}}).get(0), 1.00390625);
}

TEST(ReferenceMatmul, TheResultMayLiveInTheAddend) {
  const Operands operands = {normal(fp64({3, 4, 5}), 1), normal(fp64({5, 2}), 2),
                             normal(fp64({2}), 3), normal(fp64({3, 4, 2}), 4)};
  const Attributes attributes = {{"activation", "silu"}};
  const auto apart = run_kernel(reference::matmul, operands, {fp64({3, 4, 2})}, attributes);
  const auto shared =
      run_kernel(reference::matmul, operands, {fp64({3, 4, 2})}, attributes, 0, {{0, 3}});
  EXPECT_TRUE(same_bits(apart.results[0], shared.results[0]));
}

TEST(ReferenceMatmul, AnEmptyInnerDimensionGivesTheBias) {
  const Tensor y = multiply_matrices(
      {Tensor(fp64({2, 0})), Tensor(fp64({0, 1})), of(fp64({1}), {7})}, fp64({2, 1}));
  EXPECT_TRUE(same_bits(y, of(fp64({2, 1}), {7, 7})));
}

TEST(ReferenceMatmul, RefusesAnUnknownActivation) {
  EXPECT_THROW(multiply_matrices({Tensor(fp64({1, 1})), Tensor(fp64({1, 1}))}, fp64({1, 1}),
                                 {{"activation", "relu"}}),
               Error);
}

}  // namespace
}  // namespace bessemer::kernels
