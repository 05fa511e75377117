#include <limits>

#include <gtest/gtest.h>

#include "kernels/reference/reference.h"
#include "support/gradient_check.h"

namespace bessemer::kernels {
namespace {

using namespace testing;

Tensor run_one(PrepareFn prepare, const Operands& operands, const TensorType& result,
               const Attributes& attributes = {}) {
  return run_kernel(prepare, operands, {result}, attributes).results[0];
}

TEST(ReferenceElementwise, ASuffixOrAScalarIsBroadcast) {
  const Tensor a = of(fp64({2, 3}), {1, 2, 3, 4, 5, 6});
  const Tensor same = of(fp64({2, 3}), {10, 20, 30, 40, 50, 60});
  const Tensor suffix = of(fp64({3}), {10, 20, 30});
  const Tensor scalar = of(fp64({}), {10});
  const TensorType type = fp64({2, 3});
  using reference::add, reference::multiply;
  EXPECT_TRUE(same_bits(run_one(add, {a, same}, type), of(type, {11, 22, 33, 44, 55, 66})));
  EXPECT_TRUE(same_bits(run_one(add, {a, suffix}, type), of(type, {11, 22, 33, 14, 25, 36})));
  EXPECT_TRUE(same_bits(run_one(add, {a, scalar}, type), of(type, {11, 12, 13, 14, 15, 16})));
  EXPECT_TRUE(same_bits(run_one(multiply, {a, same}, type), of(type, {10, 40, 90, 160, 250, 360})));
  EXPECT_TRUE(
      same_bits(run_one(multiply, {a, suffix}, type), of(type, {10, 40, 90, 40, 100, 180})));
  EXPECT_TRUE(same_bits(run_one(multiply, {a, scalar}, type), of(type, {10, 20, 30, 40, 50, 60})));
}

TEST(ReferenceElementwise, OperandsMayDifferInDtype) {
  const Tensor a = of({DType::bf16, {2}}, {1, 2});
  const Tensor b = of({DType::fp32, {}}, {0.001953125});  // 2^-9: counts for neither in bf16
  EXPECT_TRUE(same_bits(run_one(reference::add, {a, b}, a.type()), a));
  EXPECT_EQ(run_one(reference::multiply, {a, b}, a.type()).get(1), 0.00390625);
}

TEST(ReferenceElementwise, ScaleAndItsRounding) {
  const Tensor x = of({DType::fp16, {3}}, {1, -2, 1000});
  const Tensor y = run_one(reference::scale, {x}, x.type(), {{"factor", 100.0}});
  EXPECT_EQ(y.get(0), 100);
  EXPECT_EQ(y.get(1), -200);
  EXPECT_EQ(y.get(2), INFINITY);
}

struct CastCase {
  DType from;
  double value;
  DType to;
  double expected;
};

TEST(ReferenceElementwise, CastsRoundOnceToNearestEven) {
  for (const CastCase& c : {
           // A tie in bf16 but for a bit that fp32 cannot hold: through fp32 it would go down.
           CastCase{DType::fp64, 1 + 0x1p-8 + 0x1p-40, DType::bf16, 1 + 0x1p-7},
           CastCase{DType::fp64, -(1 + 0x1p-8 + 0x1p-40), DType::bf16, -(1 + 0x1p-7)},
           CastCase{DType::fp64, 1 + 0x3p-8 - 0x1p-40, DType::bf16, 1 + 0x1p-7},
           CastCase{DType::fp64, 1 + 0x1p-8, DType::bf16, 1},
           CastCase{DType::fp64, 1 + 0x3p-8, DType::bf16, 1 + 0x1p-6},
           CastCase{DType::fp64, 1 + 0x1p-11 + 0x1p-40, DType::fp16, 1 + 0x1p-10},
           CastCase{DType::fp64, 0x1p-25 + 0x1p-60, DType::fp16, 0x1p-24},
           CastCase{DType::fp64, 0x1p-25, DType::fp16, 0},
           CastCase{DType::fp64, 1e300, DType::bf16, INFINITY},
           CastCase{DType::fp64, -1e300, DType::fp32, -INFINITY},
           CastCase{DType::fp64, 1e-300, DType::bf16, 0},
           CastCase{DType::fp32, 65520, DType::fp16, INFINITY},
           CastCase{DType::fp32, 65519, DType::fp16, 65504},
           CastCase{DType::bf16, 1.5, DType::fp64, 1.5},
           CastCase{DType::fp32, -2.9, DType::int32, -2},
           CastCase{DType::fp32, 3e9, DType::int32, 2147483647},
           CastCase{DType::fp32, -3e9, DType::int32, -2147483648.0},
           CastCase{DType::fp32, NAN, DType::int32, 0},
           CastCase{DType::fp32, 300, DType::uint8, 255},
           CastCase{DType::fp32, -300, DType::int8, -128},
           CastCase{DType::int32, 7, DType::boolean, 1},
           CastCase{DType::int32, 0, DType::boolean, 0},
           CastCase{DType::boolean, 1, DType::fp16, 1},
           CastCase{DType::int64, -5, DType::fp32, -5},
       }) {
    const Tensor y = run_one(reference::cast, {of({c.from, {1}}, {c.value})}, {c.to, {1}});
    EXPECT_EQ(y.get(0), c.expected) << name_of(c.from) << " " << c.value << " to " << name_of(c.to);
  }
  const Tensor nan = run_one(reference::cast, {of(fp64({1}), {NAN})}, {DType::bf16, {1}});
  EXPECT_TRUE(std::isnan(nan.get(0)));
}

TEST(ReferenceElementwise, CastToTheSameDtypeKeepsEveryBit) {
  Tensor x({DType::int64, {1}});
  *x.as<std::int64_t>() = std::numeric_limits<std::int64_t>::max() - 1;
  EXPECT_TRUE(same_bits(run_one(reference::cast, {x}, x.type()), x));
}

// gelu, gelu(approximate="tanh") and silu with their gradients: torch 2.15, fp64.
const std::vector<double> kAt = {-3.0, -0.5, 0.0, 1.0, 4.0};
const std::vector<double> kGelu = {-0.0040496940948903104, -0.15426876936299344, 0,
                                   0.84134474606854304, 3.9998733150326675};
const std::vector<double> kGeluGrad = {-0.01194564720418392, 0.13250487534383712, 0.5,
                                       1.0833154705876864, 1.0005036496612265};
const std::vector<double> kTanh = {-0.0036373920817729943, -0.15428599017485606, 0,
                                   0.84119199060827676, 3.9999297540518075};
const std::vector<double> kTanhGrad = {-0.011584166630969648, 0.13263009646535764, 0.5,
                                       1.0829640838457826, 1.000335123197122};
const std::vector<double> kSilu = {-0.14227761953270035, -0.1887703343990727, 0, 0.7310585786300049,
                                   3.9280551601516338};
const std::vector<double> kSiluGrad = {-0.088104106015169617, 0.26003881269734819, 0.5,
                                       0.92767051187148686, 1.0526646148910728};

struct Activation {
  const char* name;
  PrepareFn forward, backward;
  Attributes attributes;
  const std::vector<double>& values;
  const std::vector<double>& slopes;
};

TEST(ReferenceElementwise, ActivationsAndTheirGradientsAgreeWithTorch) {
  const Activation table[] = {
      {"gelu", reference::gelu, reference::gelu_grad, {{"approximate", "none"}}, kGelu, kGeluGrad},
      {"tanh", reference::gelu, reference::gelu_grad, {{"approximate", "tanh"}}, kTanh, kTanhGrad},
      {"silu", reference::silu, reference::silu_grad, {}, kSilu, kSiluGrad}};
  const Tensor x = of(fp64({5}), kAt);
  const Tensor dy = of(fp64({5}), {1, 1, 1, 1, 1});
  for (const Activation& a : table) {
    const Tensor y = run_one(a.forward, {x}, x.type(), a.attributes);
    const Tensor dx = run_one(a.backward, {dy, x}, x.type(), a.attributes);
    EXPECT_LT(relative_difference(y, of(fp64({5}), a.values)), 1e-15) << a.name;
    EXPECT_LT(relative_difference(dx, of(fp64({5}), a.slopes)), 1e-15) << a.name;
    const Forward forward{a.forward, {x}, {x.type()}, a.attributes};
    const Tensor weights = normal(x.type(), 3);
    const Tensor gradient = run_one(a.backward, {weights, x}, x.type(), a.attributes);
    EXPECT_LT(relative_difference(gradient, numeric_gradient(forward, 0, weights)),
              kGradientTolerance)
        << a.name;
  }
}

TEST(ReferenceElementwise, ActivationsOfHugeValuesAreFinite) {
  const Tensor x = of(fp64({2}), {-1e4, 1e4});
  for (const PrepareFn prepare : {reference::gelu, reference::silu}) {
    const Tensor y = run_one(prepare, {x}, x.type(), {{"approximate", "tanh"}});
    EXPECT_EQ(y.get(0), 0);
    EXPECT_EQ(y.get(1), 1e4);
  }
}

TEST(ReferenceElementwise, SwigluAndItsGradient) {
  const TensorType type = fp64({2, 7});
  const Tensor gate = normal(type, 1, 2.0), up = normal(type, 2), dy = normal(type, 3);
  const Forward forward{reference::swiglu, {gate, up}, {type}};
  const Tensor y = forward.run()[0];
  const double g = gate.get(4);
  EXPECT_NEAR(y.get(4), g / (1 + std::exp(-g)) * up.get(4), 1e-15);
  const auto grad = run_kernel(reference::swiglu_grad, {dy, gate, up}, {type, type}).results;
  EXPECT_LT(relative_difference(grad[0], numeric_gradient(forward, 0, dy)), kGradientTolerance);
  EXPECT_LT(relative_difference(grad[1], numeric_gradient(forward, 1, dy)), kGradientTolerance);
}

struct Sharing {
  const char* name;
  PrepareFn prepare;
  int operands, results;
  std::vector<std::pair<int, int>> share;
  Attributes attributes = {};
};

TEST(ReferenceElementwise, ResultsMayLiveInOperands) {
  const Attributes exact = {{"approximate", "none"}};
  for (const Sharing& c : {
           Sharing{"add", reference::add, 2, 1, {{0, 0}}},
           Sharing{"add to b", reference::add, 2, 1, {{0, 1}}},
           Sharing{"multiply", reference::multiply, 2, 1, {{0, 0}}},
           Sharing{"multiply into b", reference::multiply, 2, 1, {{0, 1}}},
           Sharing{"scale", reference::scale, 1, 1, {{0, 0}}, {{"factor", 3.0}}},
           Sharing{"gelu", reference::gelu, 1, 1, {{0, 0}}, exact},
           Sharing{"gelu_grad, dy", reference::gelu_grad, 2, 1, {{0, 0}}, exact},
           Sharing{"gelu_grad, x", reference::gelu_grad, 2, 1, {{0, 1}}, exact},
           Sharing{"silu", reference::silu, 1, 1, {{0, 0}}},
           Sharing{"silu_grad, dy", reference::silu_grad, 2, 1, {{0, 0}}},
           Sharing{"silu_grad, x", reference::silu_grad, 2, 1, {{0, 1}}},
           Sharing{"swiglu, gate", reference::swiglu, 2, 1, {{0, 0}}},
           Sharing{"swiglu, up", reference::swiglu, 2, 1, {{0, 1}}},
           Sharing{"swiglu_grad", reference::swiglu_grad, 3, 2, {{0, 1}, {1, 2}}},
       }) {
    Operands operands;
    for (int i = 0; i < c.operands; ++i) operands.push_back(normal({DType::fp32, {5, 3}}, 10 + i));
    const std::vector<TensorType> types(c.results, {DType::fp32, {5, 3}});
    const auto apart = run_kernel(c.prepare, operands, types, c.attributes).results;
    const auto shared = run_kernel(c.prepare, operands, types, c.attributes, 0, c.share).results;
    for (int r = 0; r < c.results; ++r) EXPECT_TRUE(same_bits(apart[r], shared[r])) << c.name;
  }
}

Tensor run_fused(const std::string& program, const Operands& operands, const TensorType& result) {
  return run_one(reference::fused, operands, result, {{"program", program}});
}

TEST(ReferenceFused, DoesWhatTheChainDoes) {
  const TensorType type = fp64({3, 4});
  const Tensor x = normal(type, 1), y = normal(fp64({4}), 2), z = normal(fp64({}), 3);
  const Attributes tanh = {{"approximate", "tanh"}};
  const Tensor product = run_one(reference::multiply, {x, y}, type);
  const Tensor activated = run_one(reference::gelu, {product}, type, tanh);
  const Tensor sum = run_one(reference::add, {activated, z}, type);
  EXPECT_TRUE(
      same_bits(run_fused("t0 = multiply x0 x1; t1 = gelu_tanh t0; t2 = add t1 x2; return t2",
                          {x, y, z}, type),
                sum));
}

TEST(ReferenceFused, EveryInstruction) {
  const TensorType type = fp64({2});
  const Tensor a = of(type, {2, -1}), b = of(type, {0.5, 3});
  struct Case {
    const char* program;
    double first;
  };
  for (const Case& c :
       {Case{"t0 = add x0 x1; return t0", 2.5}, Case{"t0 = subtract x0 x1; return t0", 1.5},
        Case{"t0 = subtract 1.0 x1; return t0", 0.5}, Case{"t0 = multiply x0 x1; return t0", 1.0},
        Case{"t0 = scale x0 -3.0; return t0", -6.0},
        Case{"t0 = add x0 0.00390625; t1 = round_bf16 t0; return t1", 2.0},
        Case{"t0 = add x0 0.00390625; t1 = round_fp16 t0; return t1", 2.00390625},
        Case{"t0 = round_fp32 0.1; return t0", static_cast<double>(0.1f)},
        Case{"t0 = round_fp64 0.1; return t0", 0.1}, Case{"return x0", 2.0}}) {
    EXPECT_EQ(run_fused(c.program, {a, b}, type).get(0), c.first) << c.program;
  }
  const Attributes tanh = {{"approximate", "tanh"}}, exact = {{"approximate", "none"}};
  const auto same = [&](const char* program, const Tensor& expected) {
    EXPECT_TRUE(same_bits(run_fused(program, {a, b}, type), expected)) << program;
  };
  same("t0 = gelu_tanh x0; return t0", run_one(reference::gelu, {a}, type, tanh));
  same("t0 = gelu x0; return t0", run_one(reference::gelu, {a}, type, exact));
  same("t0 = silu x0; return t0", run_one(reference::silu, {a}, type));
  same("t0 = gelu_tanh_grad x0 x1; return t0", run_one(reference::gelu_grad, {a, b}, type, tanh));
  same("t0 = gelu_grad x0 x1; return t0", run_one(reference::gelu_grad, {a, b}, type, exact));
  same("t0 = silu_grad x0 x1; return t0", run_one(reference::silu_grad, {a, b}, type));
}

TEST(ReferenceFused, SeveralResultsEachInItsOperandsBuffer) {
  const TensorType type = {DType::bf16, {6}};
  const Operands operands = {normal(type, 1), normal(type, 2)};
  const Attributes attributes = {{"program", "t0 = add x0 x1; t1 = subtract x0 x1; return t0 t1"}};
  const auto apart = run_kernel(reference::fused, operands, {type, type}, attributes).results;
  const auto shared =
      run_kernel(reference::fused, operands, {type, type}, attributes, 0, {{0, 1}, {1, 0}}).results;
  EXPECT_TRUE(same_bits(apart[0], shared[0]));
  EXPECT_TRUE(same_bits(apart[1], shared[1]));
  EXPECT_FALSE(same_bits(apart[0], apart[1]));
}

TEST(ReferenceFused, RefusesAProgramWithAnotherNumberOfResults) {
  EXPECT_THROW(run_fused("return x0 x0", {Tensor(fp64({1}))}, fp64({1})), Error);
}

}  // namespace
}  // namespace bessemer::kernels
