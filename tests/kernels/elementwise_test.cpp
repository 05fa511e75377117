#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "kernels/cpu/cpu.h"
#include "kernels/reference/reference.h"
#include "support/kernel_sweep.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;
namespace reference = kernels::reference;

const std::vector<Shape> kShapes{{}, {1}, {5}, {3, 17}, {2, 1024}, {3, 1025}, {17, 2, 1000}};

struct Unary {
  const char* name;
  PrepareFn kernel, reference;
  Attributes attributes;
};

TEST(Elementwise, OneOperand) {
  const std::vector<Unary> ops{{"gelu tanh", cpu::gelu, reference::gelu, {{"approximate", "tanh"}}},
                               {"gelu", cpu::gelu, reference::gelu, {{"approximate", "none"}}},
                               {"silu", cpu::silu, reference::silu, {}},
                               {"scale", cpu::scale, reference::scale, {{"factor", -0.37}}}};
  for (const DType dtype : fast_dtypes()) {
    for (const Shape& shape : kShapes) {
      const TensorType type{dtype, shape};
      for (const Unary& op : ops) {
        SweepCase c{op.kernel, op.reference, {normal(type, 1, 3.0)}, {type}, op.attributes};
        expect_agreement(c, op.name + to_string(type));
        c.share = {{0, 0}};
        expect_agreement(c, std::string(op.name) + " in place " + to_string(type));
      }
    }
  }
}

struct Binary {
  const char* name;
  PrepareFn kernel, reference;
  Attributes attributes;
  bool second_in_place;
};

TEST(Elementwise, TwoOperands) {
  const std::vector<Binary> ops{
      {"add", cpu::add, reference::add, {}, true},
      {"multiply", cpu::multiply, reference::multiply, {}, true},
      {"gelu_grad tanh", cpu::gelu_grad, reference::gelu_grad, {{"approximate", "tanh"}}, true},
      {"gelu_grad", cpu::gelu_grad, reference::gelu_grad, {{"approximate", "none"}}, true},
      {"silu_grad", cpu::silu_grad, reference::silu_grad, {}, true},
      {"swiglu", cpu::swiglu, reference::swiglu, {}, true}};
  for (const DType dtype : fast_dtypes()) {
    for (const Shape& shape : kShapes) {
      const TensorType type{dtype, shape};
      for (const Binary& op : ops) {
        SweepCase c{op.kernel,
                    op.reference,
                    {normal(type, 1), normal(type, 2, 3.0)},
                    {type},
                    op.attributes};
        expect_agreement(c, op.name + to_string(type));
        for (int operand = 0; operand < 2; ++operand) {
          c.share = {{0, operand}};
          expect_agreement(c, std::string(op.name) + " in place " + to_string(type));
        }
      }
    }
  }
}

TEST(Elementwise, BroadcastsSuffixesAndScalars) {
  struct Broadcast {
    Shape a, b;
    DType b_dtype;
  };
  for (const DType dtype : fast_dtypes()) {
    const std::vector<Broadcast> cases{
        {{7, 5}, {5}, dtype},       {{3, 4, 5}, {4, 5}, DType::fp32},
        {{9, 768}, {768}, dtype},   {{700, 3}, {3}, DType::fp32},
        {{3, 1500}, {1500}, dtype}, {{2500}, {}, DType::fp32},
        {{3, 1024}, {1024}, dtype}, {{1030, 2}, {1}, dtype},
        {{5, 1023}, {1023}, dtype}, {{2, 3, 2050}, {3, 2050}, dtype}};
    for (const Broadcast& b : cases) {
      const TensorType type{dtype, b.a};
      const Operands operands{normal(type, 1), normal({b.b_dtype, b.b}, 2)};
      expect_agreement({cpu::add, reference::add, operands, {type}, {}, {{0, 0}}},
                       "add " + to_string(type) + to_string(b.b));
      expect_agreement({cpu::multiply, reference::multiply, operands, {type}},
                       "multiply " + to_string(type) + to_string(b.b));
    }
  }
}

TEST(Elementwise, CastsBothWays) {
  for (const DType from : fast_dtypes()) {
    for (const DType to : fast_dtypes()) {
      const Shape shape{3, 2051};
      Tensor x = normal({from, shape}, 1);
      x.set(0, NAN);
      x.set(1, INFINITY);
      x.set(2, 1.0 + 0x1p-8);  // halfway between two bf16
      x.set(3, 0x1p-140);
      expect_agreement({cpu::cast, reference::cast, {x}, {{to, shape}}}, "cast");
      const KernelRun fast = run_kernel(cpu::cast, {x}, {{to, shape}});
      const KernelRun slow = run_kernel(reference::cast, {x}, {{to, shape}});
      for (std::int64_t i = 1; i < x.size(); ++i) {
        ASSERT_EQ(fast.results[0].get(i), slow.results[0].get(i)) << i;
      }
    }
  }
}

TEST(Elementwise, SwigluGradInPlace) {
  const std::vector<std::vector<std::pair<int, int>>> sharings{
      {}, {{0, 1}}, {{1, 2}}, {{0, 1}, {1, 2}}};
  for (const DType dtype : fast_dtypes()) {
    for (const Shape& shape : kShapes) {
      const TensorType type{dtype, shape};
      for (const auto& share : sharings) {
        expect_agreement({cpu::swiglu_grad,
                          reference::swiglu_grad,
                          {normal(type, 1), normal(type, 2, 3.0), normal(type, 3)},
                          {type, type},
                          {},
                          share},
                         "swiglu_grad " + to_string(type));
      }
    }
  }
}

TEST(Elementwise, FusedPrograms) {
  const std::vector<const char*> programs{
      "t0 = multiply x0 x1; t1 = gelu_tanh t0; t2 = add t1 x2; return t2",
      "t0 = add x0 x1; t1 = round_bf16 t0; t2 = silu t1; t3 = multiply t2 x2; return t3",
      "t0 = subtract x0 0.5; t1 = scale t0 2; t2 = multiply t1 x1; t3 = add 0.25 t2; return t3",
      "t0 = add x0 x0; t1 = multiply t0 t0; t2 = subtract t1 x0; t3 = gelu_grad t2 x1; return t3",
      "t0 = add x0 x2; t1 = silu_grad t0 x1; t2 = gelu_tanh_grad t1 x1; t3 = gelu t2;"
      "t4 = round_fp32 t3; return t4",
      "return x0"};
  for (const DType dtype : fast_dtypes()) {
    for (const Shape& shape : {Shape{3, 5}, Shape{9, 768}, Shape{5, 1500}}) {
      const TensorType type{dtype, shape}, suffix{DType::fp32, {shape.back()}};
      const TensorType scalar{DType::fp32, {}};
      const std::vector<Operands> lists{{normal(type, 1), normal(type, 2), normal(type, 3)},
                                        {normal(type, 1), normal(type, 2), normal(suffix, 3)},
                                        {normal(type, 1), normal(suffix, 2), normal(scalar, 3)}};
      for (const char* program : programs) {
        for (const Operands& operands : lists) {
          SweepCase c{cpu::fused, reference::fused, operands, {type}, {{"program", program}}};
          c.share = {{0, 0}};
          c.tolerance_factor = 2;
          expect_agreement(c, program + to_string(type));
        }
      }
    }
  }
}

TEST(Elementwise, FusedReturnsSeveralValues) {
  const TensorType type{DType::bf16, {5, 700}};
  expect_agreement({cpu::fused,
                    reference::fused,
                    {normal(type, 1), normal(type, 2)},
                    {type, type, type},
                    {{"program", "t0 = add x0 x1; t1 = silu t0; return t1 x1 t0"}},
                    {{0, 1}, {1, 0}}},
                   "three results");
}

TEST(Elementwise, FusingKeepsTheNumbersOfTheChain) {
  const TensorType type{DType::bf16, {3, 1000}};
  const Tensor x = normal(type, 1), y = normal(type, 2);
  const Tensor sum = run_kernel(cpu::add, {x, y}, {type}).results[0];
  const Tensor chain = run_kernel(cpu::silu, {sum}, {type}).results[0];
  const Attributes program{
      {"program", "t0 = add x0 x1; t1 = round_bf16 t0; t2 = silu t1; return t2"}};
  EXPECT_TRUE(same_bits(run_kernel(cpu::fused, {x, y}, {type}, program).results[0], chain));
}

TEST(Elementwise, ProgramWithTooManyValuesIsDeclined) {
  const TensorType type{DType::fp32, {8}};
  const Operands operands(20, normal(type, 1));
  std::string program;
  for (int i = 0; i < 19; ++i) {
    const std::string left = i == 0 ? "x0" : fmt::format("t{}", i - 1);
    program += fmt::format("t{} = add {} x{}; ", i, left, i + 1);
  }
  const KernelRun run =
      run_kernel(cpu::fused, operands, {type}, {{"program", program + "return t18"}});
  ASSERT_TRUE(run.declined);
  EXPECT_NE(run.declined->find("16"), std::string::npos) << *run.declined;
}

struct Bound {
  const char* program;
  double (*exact)(double);
};

double cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }
double pdf(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double inner(double x) { return 2 * std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x); }

// The bounds that simd_math.h states, on a fine grid over the whole range that matters.
TEST(Elementwise, ActivationsStayWithinTheirStatedBound) {
  const std::vector<Bound> bounds{
      {"t0 = silu x0; return t0", [](double x) { return x * sigmoid(x); }},
      {"t0 = silu_grad 1 x0; return t0",
       [](double x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }},
      {"t0 = gelu x0; return t0", [](double x) { return x * cdf(x); }},
      {"t0 = gelu_grad 1 x0; return t0", [](double x) { return cdf(x) + x * pdf(x); }},
      {"t0 = gelu_tanh x0; return t0", [](double x) { return x * sigmoid(inner(x)); }},
      {"t0 = gelu_tanh_grad 1 x0; return t0", [](double x) {
         const double s = sigmoid(inner(x));
         const double slope = 2 * std::sqrt(2 / std::numbers::pi) * (1 + 3 * 0.044715 * x * x);
         return s + x * s * (1 - s) * slope;
       }}};
  constexpr std::int64_t kPoints = 200001;
  Tensor x({DType::fp32, {kPoints}});
  for (std::int64_t i = 0; i < kPoints; ++i) x.set(i, -20 + 40.0 * i / (kPoints - 1));
  for (const std::int64_t target : simd_targets()) {
    const WithSimdTarget simd(target);
    for (const Bound& bound : bounds) {
      const KernelRun run = run_kernel(cpu::fused, {x}, {x.type()}, {{"program", bound.program}});
      ASSERT_FALSE(run.declined) << *run.declined;
      double worst = 0;
      for (std::int64_t i = 0; i < kPoints; ++i) {
        const double exact = bound.exact(x.get(i));
        const double error = std::abs(run.results[0].get(i) - exact);
        worst = std::max(worst, error / std::max(1.0, std::abs(exact)));
      }
      EXPECT_LT(worst, 1e-6) << bound.program << " on " << hwy::TargetName(target);
    }
  }
}

TEST(Elementwise, ActivationsAtTheEdges) {
  const Tensor x = of({DType::fp32, {7}}, {NAN, INFINITY, 1e30, -1e30, 100, -100, 0});
  const std::vector<const char*> slopes{"silu_grad", "gelu_grad", "gelu_tanh_grad"};
  for (const std::int64_t target : simd_targets()) {
    const WithSimdTarget simd(target);
    for (const char* name : slopes) {
      const std::string program = std::string("t0 = ") + name + " 1 x0; return t0";
      const Tensor y = run_kernel(cpu::fused, {x}, {x.type()}, {{"program", program}}).results[0];
      EXPECT_TRUE(std::isnan(y.get(0))) << name;
      const std::vector<double> expected{1, 1, 0, 1, 0, 0.5};
      for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_NEAR(y.get(static_cast<std::int64_t>(i) + 1), expected[i], 1e-6) << name << " " << i;
      }
    }
    for (const char* name : {"silu", "gelu", "gelu_tanh"}) {
      const std::string program = std::string("t0 = ") + name + " x0; return t0";
      const Tensor y = run_kernel(cpu::fused, {x}, {x.type()}, {{"program", program}}).results[0];
      EXPECT_TRUE(std::isnan(y.get(0))) << name;
      EXPECT_EQ(y.get(1), INFINITY) << name;
      EXPECT_NEAR(y.get(2) / 1e30, 1, 1e-6) << name;
      EXPECT_NEAR(y.get(3), 0, 1e-6) << name;
      EXPECT_NEAR(y.get(4), 100, 1e-4) << name;
      EXPECT_NEAR(y.get(5), 0, 1e-6) << name;
      EXPECT_EQ(y.get(6), 0) << name;
    }
  }
}

TEST(Elementwise, DeclinesIntegers) {
  const TensorType type{DType::int32, {4}};
  EXPECT_TRUE(
      run_kernel(cpu::add, {integers(type, 1, 0, 9), integers(type, 2, 0, 9)}, {type}).declined);
  EXPECT_TRUE(run_kernel(cpu::cast, {integers(type, 1, 0, 9)}, {{DType::fp32, {4}}}).declined);
}

}  // namespace
}  // namespace bessemer::testing
