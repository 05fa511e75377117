#include <gtest/gtest.h>

#include "kernels/reference/reference.h"
#include "support/gradient_check.h"

namespace bessemer::kernels {
namespace {

using namespace testing;

const TensorType kScalar = {DType::fp64, {}};

// torch 2.15: cross_entropy(x @ w.T, [2, -100, 0], reduction="sum") and its gradients, in fp64.
TEST(ReferenceLinearCrossEntropy, AgreesWithTorch) {
  const Tensor x = of(fp64({3, 2}), {1, 2, 0.5, -1, 3, 0});
  const Tensor w = of(fp64({3, 2}), {0.1, 0.2, -0.3, 0.4, 1, -1});
  const Tensor targets = of({DType::int32, {3}}, {2, -1, 0});
  const Tensor expected_lse =
      of(fp64({3}), {1.2989161848417257, 1.7782261146241112, 3.083833137235515});
  const Tensor expected_dx = of(fp64({3, 2}), {-0.98959567884820321, 1.1695221659115129, 0, 0,
                                               0.82018055823680014, -1.0997787949210964});
  const Tensor expected_dw =
      of(fp64({3, 2}), {-2.3647803010007769, 0.89963243531654835, 0.50565867310653989,
                        0.89963243531654835, 1.8591216278942371, -1.7992648706330967});
  const Attributes attributes = {{"chunk", std::int64_t{2}}};
  const auto forward =
      run_kernel(reference::linear_cross_entropy, {x, w, targets}, {kScalar, fp64({3})}, attributes)
          .results;
  EXPECT_NEAR(forward[0].get(0), 5.0827493220772411, 1e-14);
  EXPECT_LT(relative_difference(forward[1], expected_lse), 1e-15);
  const Tensor one = of(kScalar, {1});
  const auto grad = run_kernel(reference::linear_cross_entropy_grad,
                               {one, x, w, targets, forward[1]}, {x.type(), w.type()}, attributes)
                        .results;
  EXPECT_LT(relative_difference(grad[0], expected_dx), 1e-15);
  EXPECT_LT(relative_difference(grad[1], expected_dw), 1e-15);
}

struct Problem {
  Tensor x = normal(fp64({6, 4}), 1);
  Tensor w = normal(fp64({5, 4}), 2);
  Tensor targets = of({DType::int32, {6}}, {0, 4, -1, 2, 2, -100});
  Tensor dloss = of(kScalar, {0.25});
  Tensor addend = normal(fp64({5, 4}), 3);

  Forward forward() const {
    return {reference::linear_cross_entropy, {x, w, targets}, {kScalar, fp64({6})}};
  }
};

TEST(ReferenceLinearCrossEntropy, GradientAgreesWithDifferences) {
  const Problem p;
  const Tensor lse = p.forward().run()[1];
  const auto grad = run_kernel(reference::linear_cross_entropy_grad,
                               {p.dloss, p.x, p.w, p.targets, lse}, {p.x.type(), p.w.type()})
                        .results;
  EXPECT_LT(relative_difference(grad[0], numeric_gradient(p.forward(), 0, p.dloss)),
            kGradientTolerance);
  EXPECT_LT(relative_difference(grad[1], numeric_gradient(p.forward(), 1, p.dloss)),
            kGradientTolerance);
  for (const int ignored : {2, 5}) {
    for (int h = 0; h < 4; ++h) EXPECT_EQ(grad[0].get(ignored * 4 + h), 0);
  }
}

TEST(ReferenceLinearCrossEntropy, TrainIsForwardAndGradientAndTheAddendMayBeShared) {
  const Problem p;
  const auto forward = p.forward().run();
  const auto grad = run_kernel(reference::linear_cross_entropy_grad,
                               {p.dloss, p.x, p.w, p.targets, forward[1], p.addend},
                               {p.x.type(), p.w.type()}, {}, 0, {{1, 5}})
                        .results;
  const auto plain = run_kernel(reference::linear_cross_entropy_train,
                                {p.dloss, p.x, p.w, p.targets}, {kScalar, p.x.type(), p.w.type()})
                         .results;
  const auto train =
      run_kernel(reference::linear_cross_entropy_train, {p.dloss, p.x, p.w, p.targets, p.addend},
                 {kScalar, p.x.type(), p.w.type()}, {}, 0, {{2, 4}})
          .results;
  EXPECT_TRUE(same_bits(train[0], forward[0]));
  EXPECT_TRUE(same_bits(train[1], grad[0]));
  EXPECT_TRUE(same_bits(train[2], grad[1]));
  const auto sum = run_kernel(reference::add, {plain[2], p.addend}, {p.addend.type()}).results[0];
  EXPECT_LT(relative_difference(train[2], sum), 1e-14);
}

TEST(ReferenceLinearCrossEntropy, UniformLogitsCostTheLogarithmOfTheVocabulary) {
  const Tensor x = normal(fp64({3, 4}), 1);
  const Tensor targets = of({DType::int32, {3}}, {0, 1, 2});
  const Forward forward{
      reference::linear_cross_entropy, {x, Tensor(fp64({8, 4})), targets}, {kScalar, fp64({3})}};
  EXPECT_NEAR(forward.run()[0].get(0), 3 * std::log(8.0), 1e-14);
}

TEST(ReferenceLinearCrossEntropy, HugeLogitsStayFiniteAndNoTargetCostsNothing) {
  const Tensor x = of(fp64({2, 1}), {1e4, -1e4});
  const Tensor w = of(fp64({2, 1}), {1, 2});
  const auto loss = [&](const std::vector<double>& targets) {
    const Tensor t = of({DType::int32, {2}}, targets);
    return Forward{reference::linear_cross_entropy, {x, w, t}, {kScalar, fp64({2})}}.run()[0].get(
        0);
  };
  EXPECT_EQ(loss({1, 0}), 0);
  EXPECT_EQ(loss({0, 0}), 1e4);
  EXPECT_EQ(loss({-1, -1}), 0);
}

}  // namespace
}  // namespace bessemer::kernels
