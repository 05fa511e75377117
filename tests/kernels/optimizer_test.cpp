#include <cmath>

#include "kernels/cpu/cpu.h"
#include "kernels/reference/reference.h"
#include "support/kernel_sweep.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;
namespace reference = kernels::reference;

const Attributes kAdamW{{"beta1", 0.9}, {"beta2", 0.95}, {"epsilon", 1e-8}, {"weight_decay", 0.1}};

Tensor positive(const TensorType& type, std::uint64_t seed) {
  Tensor v = normal(type, seed);
  for (std::int64_t i = 0; i < v.size(); ++i) v.set(i, v.get(i) * v.get(i) * 1e-2);
  return v;
}

Operands adamw_operands(const TensorType& type, double step, double coefficient) {
  const TensorType scalar{DType::fp32, {}};
  return {normal(type, 1),          normal(type, 2, 0.1), normal(type, 3, 0.1),
          positive(type, 4),        of(scalar, {3e-4}),   of({DType::int64, {}}, {step}),
          of(scalar, {coefficient})};
}

TEST(AdamW, AgreesWithReference) {
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{5}, Shape{33, 17}, Shape{40, 1001}}) {
    const TensorType type{DType::fp32, shape};
    for (const double step : {1.0, 2.0, 1000.0, 5000000.0}) {
      for (const double coefficient : std::vector<double>{1.0, 0.125, NAN}) {
        for (const bool in_place : {false, true}) {
          SweepCase c{cpu::adamw_update,
                      reference::adamw_update,
                      adamw_operands(type, step, coefficient),
                      {type, type, type},
                      kAdamW};
          if (in_place) c.share = {{0, 0}, {1, 2}, {2, 3}};
          if (std::isnan(coefficient)) c.tolerance_factor = 0;
          expect_agreement(c, "adamw_update " + to_string(type));
        }
      }
    }
  }
}

// The weight has the bits of a cast of the new parameter, or of the old one where nothing is
// changed.
TEST(AdamW, WeightIsTheCastOfTheParameter) {
  Attributes attributes = kAdamW;
  attributes.set("weight", std::string("bf16"));
  for (const auto& adamw : {cpu::adamw_update, reference::adamw_update}) {
    for (const Shape& shape : {Shape{}, Shape{5}, Shape{40, 1001}}) {
      for (const double coefficient : std::vector<double>{1.0, NAN}) {
        SCOPED_TRACE(fmt::format("{} {}", to_string(shape), coefficient));
        const TensorType type{DType::fp32, shape}, rounded{DType::bf16, shape};
        const Operands in = adamw_operands(type, 3, coefficient);
        const KernelRun plain = run_kernel(adamw, in, {type, type, type}, kAdamW);
        const KernelRun run = run_kernel(adamw, in, {type, type, type, rounded}, attributes);
        const KernelRun cast = run_kernel(reference::cast, {plain.results[0]}, {rounded});
        for (std::size_t r = 0; r < 3; ++r) {
          EXPECT_TRUE(same_bits(run.results[r], plain.results[r])) << r;
        }
        EXPECT_TRUE(same_bits(run.results[3], cast.results[0]));
      }
    }
  }
}

TEST(AdamW, FirstStepFromZeroMovesByTheLearningRate) {
  const TensorType type{DType::fp32, {3}}, scalar{DType::fp32, {}};
  const KernelRun run = run_kernel(
      cpu::adamw_update,
      {of(type, {1, 1, 1}), of(type, {0.5, -2, 0}), of(type, {0, 0, 0}), of(type, {0, 0, 0}),
       of(scalar, {0.1}), of({DType::int64, {}}, {1}), of(scalar, {1})},
      {type, type, type},
      {{"beta1", 0.9}, {"beta2", 0.999}, {"epsilon", 1e-8}, {"weight_decay", 0.0}});
  EXPECT_NEAR(run.results[0].get(0), 0.9, 1e-6);
  EXPECT_NEAR(run.results[0].get(1), 1.1, 1e-6);
  EXPECT_EQ(run.results[0].get(2), 1.0);
}

TEST(AdamW, DeclinesFp64) {
  const TensorType type{DType::fp64, {3}};
  Operands operands = adamw_operands(type, 1, 1);
  EXPECT_TRUE(run_kernel(cpu::adamw_update, operands, {type, type, type}, kAdamW).declined);
}

TEST(StepDecision, AgreesWithReference) {
  const TensorType scalar{DType::fp32, {}}, count{DType::int64, {}};
  for (const double norm : std::vector<double>{0, 0.3, 1, 7, 3e38, INFINITY, NAN}) {
    for (const double loss : std::vector<double>{2.5, INFINITY, NAN}) {
      for (const double max_norm : {0.0, 1.0, 0.25}) {
        const Operands operands{of(scalar, {norm}), of(scalar, {loss})};
        const Attributes attributes{{"max_norm", max_norm}};
        const KernelRun fast = run_kernel(cpu::clip_coefficient, operands, {scalar}, attributes);
        const KernelRun slow =
            run_kernel(reference::clip_coefficient, operands, {scalar}, attributes);
        const double a = fast.results[0].get(0), b = slow.results[0].get(0);
        EXPECT_TRUE(a == b || (std::isnan(a) && std::isnan(b))) << norm << ' ' << loss;
        const Operands counted{of(count, {41}), fast.results[0]};
        for (const PrepareFn kernel : {cpu::count_step, reference::count_step}) {
          EXPECT_EQ(run_kernel(kernel, counted, {count}).results[0].get(0),
                    std::isnan(a) ? 41 : 42);
        }
      }
    }
  }
  for (const double amax : std::vector<double>{3, INFINITY, NAN}) {
    const Operands operands{of(scalar, {0.5}), of(scalar, {2}), of({DType::fp32, {2}}, {1, amax})};
    for (const PrepareFn kernel : {cpu::clip_coefficient, reference::clip_coefficient}) {
      const KernelRun run = run_kernel(kernel, operands, {scalar}, {{"max_norm", 1.0}});
      EXPECT_EQ(std::isnan(run.results[0].get(0)), !std::isfinite(amax)) << amax;
    }
  }
  const TensorType wide{DType::fp64, {}};
  EXPECT_TRUE(
      run_kernel(cpu::clip_coefficient, {of(wide, {1}), of(wide, {1})}, {wide}, {{"max_norm", 1.0}})
          .declined);
  EXPECT_TRUE(run_kernel(cpu::count_step, {of(count, {1}), of(wide, {1})}, {count}).declined);
}

TEST(GlobalNorm, AgreesWithReference) {
  const std::vector<std::vector<Shape>> lists{
      {{1}}, {{3, 5}, {}, {17}}, {{300, 400}, {32768}, {32769}, {0}}, {}};
  for (const DType dtype : fast_dtypes()) {
    for (const auto& shapes : lists) {
      Operands operands;
      for (const Shape& shape : shapes) {
        operands.push_back(normal({dtype, shape}, operands.size() + 1));
      }
      SweepCase c{cpu::global_norm, reference::global_norm, operands, {{DType::fp32, {}}}};
      c.tolerance_factor = 0.2;  // fp64 sums: only the last rounding
      expect_agreement(c, "global_norm of " + std::to_string(shapes.size()));
    }
  }
}

TEST(GlobalNorm, LargeValuesDoNotOverflowAndNonFiniteOnesShow) {
  const TensorType type{DType::fp32, {4}}, scalar{DType::fp32, {}};
  const auto norm = [&](const std::vector<double>& values) {
    return run_kernel(cpu::global_norm, {of(type, values)}, {scalar}).results[0].get(0);
  };
  EXPECT_NEAR(norm({3e30, 4e30, 0, 0}) / 5e30, 1, 1e-6);
  EXPECT_TRUE(std::isnan(norm({1, NAN, 0, 0})));
  EXPECT_EQ(norm({1, -INFINITY, 0, 0}), INFINITY);
}

}  // namespace
}  // namespace bessemer::testing
