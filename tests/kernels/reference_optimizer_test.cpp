#include <limits>

#include <gtest/gtest.h>

#include "kernels/reference/reference.h"
#include "support/gradient_check.h"

namespace bessemer::kernels {
namespace {

using namespace testing;

const Attributes kAdamW = {
    {"beta1", 0.9}, {"beta2", 0.95}, {"epsilon", 1e-8}, {"weight_decay", 0.1}};

struct State {
  Tensor parameter, m, v;
};

State update(const State& state, const Tensor& gradient, double learning_rate, int step,
             double coefficient, const std::vector<std::pair<int, int>>& share = {}) {
  const TensorType scalar{state.parameter.type().dtype, {}};
  const Operands operands = {state.parameter,
                             gradient,
                             state.m,
                             state.v,
                             of(scalar, {learning_rate}),
                             of({DType::int64, {}}, {static_cast<double>(step)}),
                             of(scalar, {coefficient})};
  const TensorType type = state.parameter.type();
  auto results =
      run_kernel(reference::adamw_update, operands, {type, type, type}, kAdamW, 0, share).results;
  return {results[0], results[1], results[2]};
}

// torch 2.15 AdamW in fp64: betas (0.9, 0.95), eps 1e-8, weight_decay 0.1, learning rate
// 0.01, 0.02, 0.03, every gradient halved before the step.
struct Golden {
  std::vector<double> gradient, parameter, m, v;
};

const std::vector<double> kStart = {1.0, -0.5, 0.25, 0.0};

const std::vector<Golden>& goldens() {
  static const std::vector<Golden> table = {
      {{0.1, -0.2, 3.0, 0.0},
       {0.9890000019999996, -0.48950000099999991, 0.23975000006666666, 0},
       {0.0049999999999999992, -0.0099999999999999985, 0.14999999999999997, 0},
       {0.00012500000000000011, 0.00050000000000000044, 0.1125000000000001, 0}},
      {{0.3, 0.1, -1.0, 1e-9},
       {0.96884816081048786, -0.4831536127205337, 0.2311843661028079, -0.00050812209979897449},
       {0.019499999999999997, -0.0040000000000000001, 0.084999999999999992, 4.9999999999999989e-11},
       {0.0012437500000000011, 0.00060000000000000049, 0.11937500000000011,
        1.2500000000000013e-20}},
      {{-0.05, 0.2, 0.5, 0.0},
       {0.94787447619004583, -0.48988386039272958, 0.21806014042286725, -0.00099078165547929003},
       {0.015049999999999997, 0.0063999999999999986, 0.10149999999999999, 4.4999999999999993e-11},
       {0.001212812500000001, 0.0010700000000000009, 0.1165312500000001, 1.1875000000000012e-20}},
  };
  return table;
}

void expect_close(const Tensor& found, const std::vector<double>& expected, double tolerance) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(found.get(static_cast<std::int64_t>(i)), expected[i],
                tolerance * std::abs(expected[i]))
        << i;
  }
}

TEST(ReferenceAdamW, AgreesWithTorchOverThreeSteps) {
  for (const DType dtype : {DType::fp64, DType::fp32}) {
    const TensorType type{dtype, {4}};
    const double tolerance = dtype == DType::fp64 ? 1e-13 : 1e-6;
    State state{of(type, kStart), Tensor(type), Tensor(type)};
    for (int step = 1; step <= 3; ++step) {
      const Golden& golden = goldens()[static_cast<std::size_t>(step - 1)];
      const Tensor gradient = of(type, golden.gradient);
      state = update(state, gradient, 0.01 * step, step, 0.5, {{0, 0}, {1, 2}, {2, 3}});
      expect_close(state.parameter, golden.parameter, tolerance);
      expect_close(state.m, golden.m, tolerance);
      expect_close(state.v, golden.v, tolerance);
    }
  }
}

TEST(ReferenceAdamW, ANaNCoefficientChangesNothing) {
  const TensorType type{DType::fp32, {7}};
  const State before{normal(type, 1), normal(type, 2), normal(type, 3)};
  const State after = update(before, normal(type, 4), 0.1, 1, NAN);
  EXPECT_TRUE(same_bits(after.parameter, before.parameter));
  EXPECT_TRUE(same_bits(after.m, before.m));
  EXPECT_TRUE(same_bits(after.v, before.v));
}

TEST(ReferenceGlobalNorm, IsTheRootOfTheSumOfSquaresOfAll) {
  const auto norm = run_kernel(reference::global_norm,
                               {of({DType::bf16, {2}}, {2, 4}), of(fp64({}), {5}),
                                of({DType::fp32, {1, 2}}, {-6, 0})},
                               {{DType::fp32, {}}})
                        .results[0];
  EXPECT_EQ(norm.get(0), 9);
}

TEST(ReferenceGlobalNorm, AccumulatesInFp64) {
  Tensor x({DType::fp32, {100001}});
  for (std::int64_t i = 0; i < x.size(); ++i) x.set(i, 1e-3);
  x.set(0, 100);  // 1e4 in fp32 would swallow each 1e-6
  const auto norm = run_kernel(reference::global_norm, {x}, {fp64({})}).results[0];
  EXPECT_NEAR(norm.get(0), std::sqrt(1e4 + 0.1), 1e-8);
}

TEST(ReferenceClipCoefficient, ClipsAndFlagsWhatIsNotFinite) {
  struct Case {
    double norm, loss, max_norm, expected;
  };
  for (const Case& c : {Case{0.5, 3, 1, 1}, Case{4, 3, 1, 1 / (4 + 1e-6)}, Case{4, 3, 0, 1},
                        Case{NAN, 3, 1, NAN}, Case{INFINITY, 3, 1, NAN}, Case{1, NAN, 1, NAN},
                        Case{1, -INFINITY, 0, NAN}, Case{0, 0, 1, 1}}) {
    const auto y =
        run_kernel(reference::clip_coefficient, {of(fp64({}), {c.norm}), of(fp64({}), {c.loss})},
                   {fp64({})}, {{"max_norm", c.max_norm}})
            .results[0];
    EXPECT_EQ(relative_difference(y, of(fp64({}), {c.expected})), 0) << c.norm << " " << c.loss;
  }
}

TEST(ReferenceCountStep, CountsUnlessTheCoefficientIsNaN) {
  const TensorType type{DType::int64, {}};
  Tensor step(type);
  *step.as<std::int64_t>() = (std::int64_t{1} << 60) + 1;  // no double holds it
  const auto count = [&](double coefficient) {
    const Tensor c = of({DType::fp32, {}}, {coefficient});
    const auto apart = run_kernel(reference::count_step, {step, c}, {type}).results[0];
    const auto shared = run_kernel(reference::count_step, {step, c}, {type}, {}, 0, {{0, 0}});
    EXPECT_TRUE(same_bits(apart, shared.results[0]));
    return *apart.as<std::int64_t>();
  };
  EXPECT_EQ(count(0.5), (std::int64_t{1} << 60) + 2);
  EXPECT_EQ(count(NAN), (std::int64_t{1} << 60) + 1);
}

}  // namespace
}  // namespace bessemer::kernels
