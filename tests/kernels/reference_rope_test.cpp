#include <gtest/gtest.h>

#include "kernels/reference/reference.h"
#include "support/gradient_check.h"

namespace bessemer::kernels {
namespace {

using namespace testing;

Tensor rotate(const Tensor& x, const Tensor& positions, Attributes attributes = {},
              bool inverse = false) {
  if (inverse) attributes.set("inverse", true);
  return run_kernel(reference::rope, {x, positions}, {x.type()}, attributes).results[0];
}

TEST(ReferenceRope, PairsAreHalfTheHeadApart) {
  // One head of size 4, theta 100: the pairs (0, 2) and (1, 3) turn by 1 and 0.1 a position.
  const TensorType type = fp64({1, 2, 1, 4});
  const Tensor x = of(type, {1, 0, 0, 1, 1, 2, 3, 4});
  const Tensor positions = of({DType::int32, {1, 2}}, {2, 0});
  const Tensor expected =
      of(type, {std::cos(2.0), -std::sin(0.2), std::sin(2.0), std::cos(0.2), 1, 2, 3, 4});
  EXPECT_LT(relative_difference(rotate(x, positions, {{"theta", 100.0}}), expected), 1e-15);
}

TEST(ReferenceRope, EveryHeadTurnsAlikeAndEverySequenceByItsOwnPositions) {
  const TensorType type = fp64({2, 1, 2, 2});
  const Tensor x = of(type, {1, 0, 1, 0, 1, 0, 1, 0});
  const Tensor y = rotate(x, of({DType::int32, {2, 1}}, {1, 3}));
  const double c1 = std::cos(1.0), s1 = std::sin(1.0), c3 = std::cos(3.0), s3 = std::sin(3.0);
  EXPECT_LT(relative_difference(y, of(type, {c1, s1, c1, s1, c3, s3, c3, s3})), 1e-15);
}

TEST(ReferenceRope, InverseUndoesIt) {
  const TensorType type = fp64({2, 5, 3, 8});
  const Tensor x = normal(type, 1);
  const Tensor positions = integers({DType::int32, {2, 5}}, 2, 0, 10000);
  for (const Attributes& attributes :
       {Attributes{{"theta", 10000.0}}, Attributes{{"scaling", "linear"}, {"factor", 8.0}}}) {
    const Tensor y = rotate(x, positions, attributes);
    EXPECT_GT(relative_difference(y, x), 0.1);
    EXPECT_LT(relative_difference(rotate(y, positions, attributes, true), x), 1e-14);
  }
}

TEST(ReferenceRope, ScoresDependOnTheDistanceOnly) {
  const TensorType type = fp64({1, 1, 1, 16});
  const Tensor q = normal(type, 1), k = normal(type, 2);
  const auto score = [&](int query, int key) {
    const Tensor a = rotate(q, of({DType::int32, {1, 1}}, {static_cast<double>(query)}));
    const Tensor b = rotate(k, of({DType::int32, {1, 1}}, {static_cast<double>(key)}));
    double sum = 0;
    for (int i = 0; i < 16; ++i) sum += a.get(i) * b.get(i);
    return sum;
  };
  EXPECT_NEAR(score(7, 3), score(104, 100), 1e-12);
  EXPECT_GT(std::abs(score(7, 3) - score(8, 3)), 1e-3);
}

TEST(ReferenceRope, InverseIsTheGradientAttentionFactorIncluded) {
  const TensorType type = fp64({1, 3, 2, 8});
  const Tensor x = normal(type, 1), dy = normal(type, 2);
  const Tensor positions = of({DType::int32, {1, 3}}, {0, 5, 300});
  Attributes attributes = {
      {"scaling", "yarn"}, {"factor", 4.0}, {"original_context", std::int64_t{64}}};
  const Forward forward{reference::rope, {x, positions}, {type}, attributes};
  const Tensor dx = rotate(dy, positions, attributes, true);
  EXPECT_LT(relative_difference(dx, numeric_gradient(forward, 0, dy)), kGradientTolerance);
  EXPECT_NEAR(rotate(x, positions, attributes).get(0) / x.get(0), 0.1 * std::log(4.0) + 1, 1e-14);
}

TEST(ReferenceRope, InPlace) {
  const TensorType type{DType::bf16, {2, 3, 2, 6}};
  const Operands operands = {normal(type, 1), integers({DType::int32, {2, 3}}, 2, 0, 100)};
  const auto apart = run_kernel(reference::rope, operands, {type}).results;
  const auto shared = run_kernel(reference::rope, operands, {type}, {}, 0, {{0, 0}}).results;
  EXPECT_TRUE(same_bits(apart[0], shared[0]));
}

}  // namespace
}  // namespace bessemer::kernels
