#include <gtest/gtest.h>

#include "kernels/reference/reference.h"
#include "support/gradient_check.h"

namespace bessemer::kernels {
namespace {

using namespace testing;

const Shape kRows = {2, 3};
const std::vector<double> kInput = {1, 2, 4, -1, 0.5, 0.25};
const std::vector<double> kGain = {1, 2, -1};

// torch 2.15, layer_norm with bias {0.5, 0, 1} and epsilon 1e-5, in fp64.
TEST(ReferenceLayerNorm, AgreesWithTorch) {
  const Tensor x = of(fp64(kRows), kInput), gain = of(fp64({3}), kGain);
  const Tensor bias = of(fp64({3}), {0.5, 0, 1});
  const auto run = run_kernel(reference::layer_norm, {x, gain, bias},
                              {fp64(kRows), fp64({2}), fp64({2})}, {{"epsilon", 1e-5}});
  const Tensor expected =
      of(fp64(kRows), {-0.56904153145029768, -0.53452076572514906, -0.33630191431287182,
                       -0.89698517404265865, 1.7779811305997475, 0.49200539125721499});
  EXPECT_LT(relative_difference(run.results[0], expected), 1e-14);
  EXPECT_NEAR(run.results[1].get(0), 7.0 / 3, 1e-15);
  EXPECT_NEAR(run.results[2].get(0), 1 / std::sqrt(14.0 / 9 + 1e-5), 1e-15);
}

// torch 2.15, rms_norm with epsilon 1e-6, in fp64.
TEST(ReferenceRmsNorm, AgreesWithTorch) {
  const Tensor x = of(fp64(kRows), kInput), gain = of(fp64({3}), kGain);
  const auto run =
      run_kernel(reference::rms_norm, {x, gain}, {fp64(kRows), fp64({2})}, {{"epsilon", 1e-6}});
  const Tensor expected =
      of(fp64(kRows), {0.37796444601176771, 1.5118577840470708, -1.5118577840470708,
                       -1.5118561642022801, 1.5118561642022801, -0.37796404105057002});
  EXPECT_LT(relative_difference(run.results[0], expected), 1e-14);
  EXPECT_NEAR(run.results[1].get(0), 1 / std::sqrt(7 + 1e-6), 1e-15);
}

TEST(ReferenceLayerNorm, AnAbsentBiasIsZeroAndRowsAreStandardised) {
  const TensorType type = fp64({5, 64});
  Tensor gain(fp64({64}));
  for (int i = 0; i < 64; ++i) gain.set(i, 1);
  const auto run = run_kernel(reference::layer_norm, {normal(type, 1, 3.0), gain, std::nullopt},
                              {type, fp64({5}), fp64({5})}, {{"epsilon", 0.0}});
  for (int r = 0; r < 5; ++r) {
    double sum = 0, squares = 0;
    for (int h = 0; h < 64; ++h) {
      const double y = run.results[0].get(r * 64 + h);
      sum += y;
      squares += y * y;
    }
    EXPECT_NEAR(sum, 0, 1e-12);
    EXPECT_NEAR(squares, 64, 1e-12);
  }
}

TEST(ReferenceLayerNorm, StatisticsOfNarrowTypesAreFp32) {
  const TensorType type{DType::bf16, {1, 3}};
  const TensorType statistic{DType::fp32, {1}};
  const Tensor x = of(type, {1, 1.0078125, 1.0078125});
  const Tensor gain = of({DType::fp32, {3}}, {1, 1, 1});
  const auto run = run_kernel(reference::layer_norm, {x, gain}, {type, statistic, statistic},
                              {{"epsilon", 1e-5}});
  EXPECT_EQ(run.results[1].get(0), static_cast<float>(1 + 2 * 0.0078125 / 3));
}

struct Norm {
  const char* name;
  Forward forward;
  PrepareFn backward;
  std::vector<TensorType> gradients;
};

/// Forward runs on x: [4, 5] with every operand of the op.
std::vector<Norm> norms() {
  const TensorType rows = fp64({4, 5}), vector = fp64({5}), statistic = fp64({4});
  const Attributes attributes = {{"epsilon", 1e-3}};
  const Tensor x = normal(rows, 1, 2.0), gain = normal(vector, 2), bias = normal(vector, 3);
  return {{"layer_norm",
           {reference::layer_norm, {x, gain, bias}, {rows, statistic, statistic}, attributes},
           reference::layer_norm_grad,
           {rows, vector, vector}},
          {"rms_norm",
           {reference::rms_norm, {x, gain}, {rows, statistic}, attributes},
           reference::rms_norm_grad,
           {rows, vector}}};
}

/// dy, x, gain and the statistics of the forward run: the operands of the gradient but for addend.
Operands gradient_operands(const Norm& norm, const Tensor& dy) {
  Operands operands = {dy, norm.forward.operands[0], norm.forward.operands[1]};
  const std::vector<Tensor> results = norm.forward.run();
  operands.insert(operands.end(), results.begin() + 1, results.end());
  return operands;
}

TEST(ReferenceNormGrad, AgreesWithDifferences) {
  for (const Norm& norm : norms()) {
    const Tensor dy = normal(fp64({4, 5}), 4);
    const auto run = run_kernel(norm.backward, gradient_operands(norm, dy), norm.gradients);
    for (std::size_t i = 0; i < norm.gradients.size(); ++i) {
      EXPECT_LT(relative_difference(run.results[i], numeric_gradient(norm.forward, i, dy)),
                kGradientTolerance)
          << norm.name << " operand " << i;
    }
  }
}

TEST(ReferenceNormGrad, AddsTheAddendAlsoInPlace) {
  for (const Norm& norm : norms()) {
    const Tensor dy = normal(fp64({4, 5}), 4), addend = normal(fp64({4, 5}), 5);
    Operands operands = gradient_operands(norm, dy);
    const auto plain = run_kernel(norm.backward, operands, norm.gradients).results;
    operands.push_back(addend);
    const int last = static_cast<int>(operands.size()) - 1;
    const auto sum = run_kernel(reference::add, {plain[0], addend}, {addend.type()}).results[0];
    for (const int shared : {-1, 0, last}) {
      std::vector<std::pair<int, int>> share;
      if (shared >= 0) share.push_back({0, shared});
      const auto run = run_kernel(norm.backward, operands, norm.gradients, {}, 0, share).results;
      EXPECT_LT(relative_difference(run[0], sum), 1e-15) << norm.name << " sharing " << shared;
      for (std::size_t i = 1; i < plain.size(); ++i) EXPECT_TRUE(same_bits(run[i], plain[i]));
    }
  }
}

}  // namespace
}  // namespace bessemer::kernels
