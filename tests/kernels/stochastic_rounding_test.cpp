// Parameters in bf16 that AdamW rounds stochastically: right on average, the same bits from every
// kernel, and what plain rounding loses is kept.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "kernels/cpu/cpu.h"
#include "kernels/reference/reference.h"
#include "kernels/stochastic_rounding.h"
#include "support/kernel_sweep.h"
#include "support/rounded_update.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;
namespace reference = kernels::reference;

constexpr double kUlp = 0x1p-7;  // of bf16 numbers from 1 to 2

Tensor filled(const TensorType& type, double value) {
  Tensor x(type);
  for (std::int64_t i = 0; i < x.size(); ++i) x.set(i, value);
  return x;
}

Tensor updated(PrepareFn adamw, const Operands& operands, const Attributes& attributes) {
  const Shape& shape = operands[0]->type().shape;
  const KernelRun run = run_kernel(adamw, operands, rounded_update_results(shape), attributes);
  EXPECT_FALSE(run.declined);
  return run.results.at(0);
}

double mean_of(const Tensor& x) {
  double sum = 0;
  for (std::int64_t i = 0; i < x.size(); ++i) sum += x.get(i);
  return sum / static_cast<double>(x.size());
}

// Every share of the way from one bf16 number to the next, at either sign: the number of those that
// are rounded up is binomial.
TEST(StochasticRounding, IsRightOnAverage) {
  const Shape shape{200'000};
  for (const double sign : {1.0, -1.0}) {
    const Tensor parameter = filled({DType::bf16, shape}, sign);
    const Tensor gradient = filled({DType::fp32, shape}, -sign);
    std::int64_t site = 0;
    for (const double share : {1 / 65536.0, 0.015625, 0.25, 0.5, 0.9375, 65535 / 65536.0}) {
      const Tensor rounded =
          updated(cpu::adamw_update, rounded_update(parameter, gradient, share * kUlp),
                  rounded_update_attributes(11, ++site));
      for (std::int64_t i = 0; i < rounded.size(); ++i) {
        ASSERT_TRUE(rounded.get(i) == sign || rounded.get(i) == sign * (1 + kUlp)) << i;
      }
      const double error = std::sqrt(share * (1 - share) / static_cast<double>(rounded.size()));
      EXPECT_NEAR((sign * mean_of(rounded) - 1) / kUlp, share, 4 * error) << sign;
    }
  }
}

// The bits come from seed, step, site and index, and from nothing else.
TEST(StochasticRounding, EveryKernelDrawsTheSameBits) {
  for (const Shape& shape : {Shape{1}, Shape{5}, Shape{33, 63}, Shape{4099}, Shape{3, 20'001}}) {
    for (const std::int64_t first : {std::int64_t{0}, std::int64_t{32768}, std::int64_t{5} << 32}) {
      SweepCase c{cpu::adamw_update, reference::adamw_update,
                  rounded_update(parameters_near_one(shape), signs(shape), 21077 * 0x1p-23, 9),
                  rounded_update_results(shape), rounded_update_attributes(11, 3, first)};
      c.tolerance_factor = 0;
      expect_agreement(c, fmt::format("{} from {}", to_string(shape), first));
      c.share = {{0, 0}, {1, 2}, {2, 3}};
      expect_agreement(c, fmt::format("{} from {}, in place", to_string(shape), first));
    }
  }
}

TEST(StochasticRounding, DrawsAnewForEverySeedStepAndSite) {
  const Shape shape{400};
  const Tensor parameter = parameters_near_one(shape), gradient = signs(shape);
  const auto drawn = [&](std::int64_t seed, std::int64_t site, double step) {
    return updated(reference::adamw_update, rounded_update(parameter, gradient, kUlp / 2, step),
                   rounded_update_attributes(seed, site));
  };
  const Tensor one = drawn(1, 1, 1);
  EXPECT_TRUE(same_bits(drawn(1, 1, 1), one));
  for (const Tensor& other : {drawn(2, 1, 1), drawn(1, 2, 1), drawn(1, 1, 2)}) {
    std::int64_t differ = 0;
    for (std::int64_t i = 0; i < one.size(); ++i) differ += one.get(i) != other.get(i) ? 1 : 0;
    EXPECT_NEAR(static_cast<double>(differ), 200, 40);  // four standard errors
  }
}

// A tile draws what its elements draw in the whole tensor.
TEST(StochasticRounding, APieceDrawsThePartOfTheWhole) {
  constexpr std::int64_t kAll = 5000, kCut = 2056;
  const Operands whole = rounded_update(parameters_near_one({kAll}), signs({kAll}), 0.25 * kUlp);
  Operands piece = whole;
  for (std::size_t o = 0; o < 4; ++o) {
    const DType dtype = whole[o]->type().dtype;
    piece[o] = Tensor({dtype, {kAll - kCut}});
    for (std::int64_t i = kCut; i < kAll; ++i) piece[o]->set(i - kCut, whole[o]->get(i));
  }
  for (const auto& adamw : {cpu::adamw_update, reference::adamw_update}) {
    const Tensor all = updated(adamw, whole, rounded_update_attributes());
    const Tensor part = updated(adamw, piece, rounded_update_attributes(11, 3, kCut));
    for (std::int64_t i = 0; i < part.size(); ++i) ASSERT_EQ(part.get(i), all.get(kCut + i)) << i;
  }
}

// Each update is 1/32 of the distance of two bf16 numbers. Rounded to nearest, none would ever
// show.
TEST(StochasticRounding, ManySmallUpdatesAddUp) {
  constexpr int kUpdates = 1000;
  constexpr double kRate = kUlp / 32;
  const Shape shape{256};
  const Tensor gradient = filled({DType::fp32, shape}, -1);
  Tensor parameter = filled({DType::bf16, shape}, 1);
  BFloat16 nearest(1.0F);
  for (int step = 1; step <= kUpdates; ++step) {
    parameter = updated(cpu::adamw_update, rounded_update(parameter, gradient, kRate, step),
                        rounded_update_attributes());
    nearest = BFloat16(static_cast<float>(nearest) + static_cast<float>(kRate));
  }
  EXPECT_EQ(static_cast<float>(nearest), 1.0F);
  const double error = kUlp * std::sqrt(kUpdates / 32.0 * 31 / 32 / 256);
  EXPECT_NEAR(mean_of(parameter), 1 + kUpdates * kRate, 4 * error);
}

TEST(StochasticRounding, AgreesWithReferenceInAnyUpdate) {
  const TensorType scalar{DType::fp32, {}};
  Attributes attributes = rounded_update_attributes();
  attributes.set("beta1", 0.9);
  attributes.set("beta2", 0.95);
  attributes.set("epsilon", 1e-8);
  attributes.set("weight_decay", 0.1);
  for (const Shape& shape : {Shape{5}, Shape{40, 1001}}) {
    const TensorType state{DType::fp32, shape};
    for (const double coefficient : std::vector<double>{1.0, 0.125, NAN}) {
      Tensor v = normal(state, 4);
      for (std::int64_t i = 0; i < v.size(); ++i) v.set(i, v.get(i) * v.get(i) * 1e-2);
      SweepCase c{cpu::adamw_update,
                  reference::adamw_update,
                  {normal({DType::bf16, shape}, 1), normal(state, 2, 0.1), normal(state, 3, 0.1), v,
                   of(scalar, {3e-4}), of({DType::int64, {}}, {7}), of(scalar, {coefficient})},
                  rounded_update_results(shape),
                  attributes};
      c.tolerance_factor = std::isnan(coefficient) ? 0 : 2;  // up where the other one goes down
      expect_agreement(c, fmt::format("{} coefficient {}", to_string(shape), coefficient));
    }
  }
}

TEST(StochasticRounding, KeepsWhatIsNotFiniteAndWhatIsBf16) {
  using kernels::round_stochastically;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const std::uint32_t random : {0u, 0x8000u, 0xffffu}) {
    for (const float x : {0.0F, -0.0F, 1.0F, -1.5F, 0x1p-133F, kInfinity, -kInfinity}) {
      EXPECT_EQ(round_stochastically(x, random).bits, BFloat16(x).bits) << x << " " << random;
    }
    EXPECT_TRUE(std::isnan(static_cast<float>(round_stochastically(NAN, random))));
  }
  const Shape shape{3};
  const Tensor parameter = of({DType::bf16, shape}, {INFINITY, NAN, -INFINITY});
  for (const auto& adamw : {cpu::adamw_update, reference::adamw_update}) {
    const Tensor after = updated(adamw, rounded_update(parameter, signs(shape), kUlp / 2),
                                 rounded_update_attributes());
    EXPECT_EQ(after.get(0), INFINITY);
    EXPECT_TRUE(std::isnan(after.get(1)));
    EXPECT_EQ(after.get(2), -INFINITY);
  }
}

}  // namespace
}  // namespace bessemer::testing
