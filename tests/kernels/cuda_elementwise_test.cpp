// Element-wise kernels of the CUDA backend: the source they are made of, run by the device of the
// tests, and compiled by NVRTC where that is installed.
#include <array>
#include <cmath>
#include <numbers>
#include <set>

#include <gtest/gtest.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/elementwise_source.h"
#include "kernels/cuda/jit.h"
#include "kernels/cuda/nvrtc.h"
#include "kernels/reference/reference.h"
#include "support/kernel_runner.h"
#include "support/thread_orders.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;
using kernels::cuda::ElementwiseInput;
using kernels::cuda::ElementwiseSource;

constexpr std::array kDTypes{DType::fp32, DType::bf16};

double tolerance(DType dtype) { return dtype == DType::bf16 ? 0x1p-8 : 2e-6; }

struct Case {
  std::string name;
  PrepareFn kernel, reference;
  Operands operands;
  std::vector<TensorType> results;
  Attributes attributes = {};
  std::vector<std::pair<int, int>> share = {};
};

class CudaElementwise : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device() == nullptr) GTEST_SKIP() << "there is no CUDA device";
  }
};

/// Near the reference, with the same bits in place and in whatever order the threads run.
void expect_right(const Case& c) {
  SCOPED_TRACE(c.name + " of " + to_string(c.operands[0]->type()));
  const KernelRun expected = run_kernel(c.reference, c.operands, c.results, c.attributes);
  const KernelRun run = run_cuda_kernel(c.kernel, c.operands, c.results, c.attributes);
  ASSERT_FALSE(run.declined) << *run.declined;
  std::vector<KernelRun> same;
  in_each_thread_order([&] {
    same.push_back(run_cuda_kernel(c.kernel, c.operands, c.results, c.attributes, c.share));
  });
  for (std::size_t r = 0; r < run.results.size(); ++r) {
    EXPECT_LE(relative_difference(run.results[r], expected.results[r]),
              tolerance(c.results[r].dtype))
        << "result " << r;
    for (const KernelRun& other : same) {
      EXPECT_TRUE(same_bits(other.results[r], run.results[r])) << "result " << r;
    }
  }
}

// One element, less than a pack, a row of a model, tails, more than a tile.
const std::vector<Shape> kShapes{{}, {3}, {3, 17}, {2, 4096}, {3, 1025}, {7, 3, 768}};

std::vector<Case> whole_cases(DType dtype, const Shape& shape) {
  const TensorType t{dtype, shape};
  const Tensor a = normal(t, 1, 3.0), b = normal(t, 2, 3.0), c = normal(t, 3);
  const Attributes tanh{{"approximate", "tanh"}}, exact{{"approximate", "none"}};
  return {{"gelu tanh", cuda::gelu, reference::gelu, {a}, {t}, tanh, {{0, 0}}},
          {"gelu", cuda::gelu, reference::gelu, {a}, {t}, exact, {{0, 0}}},
          {"silu", cuda::silu, reference::silu, {a}, {t}, {}, {{0, 0}}},
          {"scale", cuda::scale, reference::scale, {a}, {t}, {{"factor", -0.37}}, {{0, 0}}},
          {"add", cuda::add, reference::add, {a, b}, {t}, {}, {{0, 1}}},
          {"multiply", cuda::multiply, reference::multiply, {a, b}, {t}, {}, {{0, 0}}},
          {"gelu_grad tanh", cuda::gelu_grad, reference::gelu_grad, {c, a}, {t}, tanh, {{0, 0}}},
          {"gelu_grad", cuda::gelu_grad, reference::gelu_grad, {c, a}, {t}, exact, {{0, 1}}},
          {"silu_grad", cuda::silu_grad, reference::silu_grad, {c, a}, {t}, {}, {{0, 1}}},
          {"swiglu", cuda::swiglu, reference::swiglu, {a, b}, {t}, {}, {{0, 1}}},
          {"swiglu_grad",
           cuda::swiglu_grad,
           reference::swiglu_grad,
           {c, a, b},
           {t, t},
           {},
           {{0, 1}, {1, 2}}}};
}

TEST_F(CudaElementwise, OperandsOfOneShape) {
  for (const DType dtype : kDTypes) {
    for (const Shape& shape : kShapes) {
      for (const Case& c : whole_cases(dtype, shape)) expect_right(c);
    }
  }
}

// Suffixes of whole packs and of none, longer and shorter than a tile, of the other dtype.
TEST_F(CudaElementwise, OperandsThatRepeat) {
  struct Repeat {
    Shape whole, part;
    DType dtype;
  };
  for (const DType dtype : kDTypes) {
    for (const Repeat& r : {Repeat{{9, 768}, {768}, DType::fp32},
                            Repeat{{3, 2, 768}, {2, 768}, dtype}, Repeat{{1030, 3}, {3}, dtype},
                            Repeat{{2, 4100}, {4100}, DType::bf16}, Repeat{{2500}, {}, dtype}}) {
      const TensorType t{dtype, r.whole};
      const Operands operands{normal(t, 1), normal({r.dtype, r.part}, 2)};
      expect_right({"multiply", cuda::multiply, reference::multiply, operands, {t}, {}, {{0, 0}}});
    }
  }
}

TEST_F(CudaElementwise, CastsRoundToNearestEven) {
  for (const DType from : kDTypes) {
    for (const DType to : kDTypes) {
      Tensor x = normal({from, {3, 1031}}, 1);
      const std::vector<double> edges{NAN,        INFINITY, -INFINITY, 1 + 0x1p-8,
                                      1 + 0x3p-8, 0x1p-140, -0.0,      3.4e38};
      for (std::size_t i = 0; i < edges.size(); ++i) x.set(static_cast<std::int64_t>(i), edges[i]);
      const TensorType result{to, {3, 1031}};
      const KernelRun run = run_cuda_kernel(cuda::cast, {x}, {result});
      const KernelRun expected = run_kernel(reference::cast, {x}, {result});
      EXPECT_TRUE(std::isnan(run.results[0].get(0)));
      for (std::int64_t i = 1; i < x.size(); ++i) {
        ASSERT_EQ(run.results[0].get(i), expected.results[0].get(i)) << i;
      }
    }
  }
}

const std::vector<const char*> kPrograms{
    "t0 = multiply x0 x1; t1 = gelu_tanh t0; t2 = add t1 x2; return t2",
    "t0 = add x0 x1; t1 = round_bf16 t0; t2 = silu t1; t3 = multiply t2 x2; return t3",
    "t0 = subtract x0 0.5; t1 = scale t0 -2; t2 = multiply t1 x1; t3 = add 1e-30 t2; return t3",
    "t0 = add x0 x2; t1 = silu_grad t0 x1; t2 = gelu_tanh_grad t1 x1; t3 = gelu t2; "
    "t4 = round_fp32 t3; t5 = gelu_grad t4 x0; return t5"};

TEST_F(CudaElementwise, FusedPrograms) {
  for (const DType dtype : kDTypes) {
    const TensorType t{dtype, {5, 768}}, suffix{DType::fp32, {768}}, scalar{DType::fp32, {}};
    for (std::size_t i = 0; i < kPrograms.size(); ++i) {
      const Operands operands = i % 2 == 0
                                    ? Operands{normal(t, 1), normal(t, 2), normal(suffix, 3)}
                                    : Operands{normal(t, 1), normal(suffix, 2), normal(scalar, 3)};
      expect_right({kPrograms[i],
                    cuda::fused,
                    reference::fused,
                    operands,
                    {t},
                    {{"program", kPrograms[i]}},
                    {{0, 0}}});
    }
  }
}

TEST_F(CudaElementwise, FusedReturnsSeveralValues) {
  const TensorType t{DType::bf16, {5, 700}};
  expect_right({"three results",
                cuda::fused,
                reference::fused,
                {normal(t, 1), normal(t, 2)},
                {t, t, t},
                {{"program", "t0 = add x0 x1; t1 = silu t0; return t1 x1 t0"}},
                {{0, 1}, {1, 0}}});
}

// A group gives the bits of its ops one after the other: no product is contracted with a sum, and
// what was stored in between is rounded.
TEST_F(CudaElementwise, FusingKeepsTheNumbersOfTheChain) {
  for (const DType dtype : kDTypes) {
    const TensorType t{dtype, {3, 1000}};
    const Tensor x = normal(t, 1), y = normal(t, 2), z = normal(t, 3);
    const Tensor product = run_cuda_kernel(cuda::multiply, {x, y}, {t}).results[0];
    const Tensor sum = run_cuda_kernel(cuda::add, {product, z}, {t}).results[0];
    const Tensor chain = run_cuda_kernel(cuda::silu, {sum}, {t}).results[0];
    const Attributes program{
        {"program", dtype == DType::bf16
                        ? "t0 = multiply x0 x1; t1 = round_bf16 t0; t2 = add t1 x2; "
                          "t3 = round_bf16 t2; t4 = silu t3; return t4"
                        : "t0 = multiply x0 x1; t1 = add t0 x2; t2 = silu t1; return t2"}};
    const KernelRun fused = run_cuda_kernel(cuda::fused, {x, y, z}, {t}, program);
    EXPECT_TRUE(same_bits(fused.results[0], chain)) << name_of(dtype);
  }
}

double cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }
double pdf(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double inner(double x) { return 2 * std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x); }

struct Bound {
  const char* program;
  double (*exact)(double);
  double at_infinity;
};

const std::vector<Bound> kBounds{
    {"t0 = silu x0; return t0", [](double x) { return x * sigmoid(x); }, INFINITY},
    {"t0 = silu_grad 1 x0; return t0",
     [](double x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }, 1},
    {"t0 = gelu x0; return t0", [](double x) { return x * cdf(x); }, INFINITY},
    {"t0 = gelu_grad 1 x0; return t0", [](double x) { return cdf(x) + x * pdf(x); }, 1},
    {"t0 = gelu_tanh x0; return t0", [](double x) { return x * sigmoid(inner(x)); }, INFINITY},
    {"t0 = gelu_tanh_grad 1 x0; return t0",
     [](double x) {
       const double s = sigmoid(inner(x));
       return s +
              x * s * (1 - s) * 2 * std::sqrt(2 / std::numbers::pi) * (1 + 3 * 0.044715 * x * x);
     },
     1}};

TEST_F(CudaElementwise, ActivationsAreWithinAMillionth) {
  constexpr std::int64_t kPoints = 20001;
  Tensor x({DType::fp32, {kPoints}});
  for (std::int64_t i = 0; i < kPoints; ++i) x.set(i, -20 + 40.0 * i / (kPoints - 1));
  for (const Bound& bound : kBounds) {
    const KernelRun run =
        run_cuda_kernel(cuda::fused, {x}, {x.type()}, {{"program", bound.program}});
    ASSERT_FALSE(run.declined) << *run.declined;
    double worst = 0;
    for (std::int64_t i = 0; i < kPoints; ++i) {
      const double exact = bound.exact(x.get(i));
      worst =
          std::max(worst, std::abs(run.results[0].get(i) - exact) / std::max(1.0, std::abs(exact)));
    }
    EXPECT_LT(worst, 1e-6) << bound.program;
  }
}

TEST_F(CudaElementwise, ActivationsAtTheEdges) {
  const Tensor x = of({DType::fp32, {7}}, {NAN, INFINITY, 1e30, -1e30, 100, -100, 0});
  for (const Bound& bound : kBounds) {
    SCOPED_TRACE(bound.program);
    const bool slope = bound.at_infinity == 1;
    const KernelRun run =
        run_cuda_kernel(cuda::fused, {x}, {x.type()}, {{"program", bound.program}});
    const Tensor& y = run.results[0];
    EXPECT_TRUE(std::isnan(y.get(0)));
    EXPECT_EQ(y.get(1), bound.at_infinity);
    EXPECT_NEAR(y.get(2) / (slope ? 1 : 1e30), 1, 1e-6);
    EXPECT_NEAR(y.get(3), 0, 1e-6);
    EXPECT_NEAR(y.get(4), slope ? 1 : 100, 1e-4);
    EXPECT_NEAR(y.get(5), 0, 1e-6);
    EXPECT_NEAR(y.get(6), slope ? 0.5 : 0, 1e-6);
  }
}

// What does not fit the blocks of a launch they do in turns.
TEST_F(CudaElementwise, ABlockTakesSeveralTiles) {
  const TensorType t{DType::bf16, {3, 9001}};
  const Tensor x = normal(t, 1);
  const std::array inputs{std::optional(ElementwiseInput{DType::bf16, t.elements()})};
  const ElementwiseSource source =
      cuda::elementwise_source(kernels::parse_elementwise_program("t0 = scale x0 3; return t0", 1),
                               inputs, std::array{DType::bf16}, t.elements());
  ASSERT_GT(source.blocks(t.elements()), 3);
  const auto run = [&](std::int64_t blocks) {
    const OnDevice from(x.data(), t.bytes()), to(nullptr, t.bytes());
    const std::array<std::uint64_t, 3> arguments{reinterpret_cast<std::uint64_t>(from.data()),
                                                 reinterpret_cast<std::uint64_t>(to.data()),
                                                 static_cast<std::uint64_t>(t.elements())};
    cuda::compile(source.text, ElementwiseSource::kName)
        .launch(blocks, ElementwiseSource::kThreads, cuda_stream(), arguments);
    Tensor result(t);
    to.read(result.data());
    return result;
  };
  const Tensor expected = run_kernel(reference::scale, {x}, {t}, {{"factor", 3.0}}).results[0];
  for (const std::int64_t blocks : {1, 2, 3, 100}) {
    EXPECT_TRUE(same_bits(run(blocks), expected)) << blocks << " blocks";
  }
}

TEST_F(CudaElementwise, DeclinesWhatItDoesNotDo) {
  const TensorType ints{DType::int32, {4}}, half{DType::fp16, {4}}, single{DType::fp32, {4}};
  EXPECT_TRUE(run_cuda_kernel(cuda::cast, {integers(ints, 1, 0, 9)}, {single}).declined);
  EXPECT_TRUE(run_cuda_kernel(cuda::silu, {normal(half, 1)}, {half}).declined);
  EXPECT_TRUE(run_cuda_kernel(cuda::fused, {normal(single, 1)}, {single},
                              {{"program", "t0 = round_fp16 x0; return t0"}})
                  .declined);
  EXPECT_TRUE(run_cuda_kernel(cuda::fused, Operands(64, normal(single, 1)), {single},
                              {{"program", "return x0"}})
                  .declined);
}

TEST(ElementwiseSource, DependsOnWhichOperandsRepeatNotOnTheElements) {
  const auto program = kernels::parse_elementwise_program("t0 = add x0 x1; return t0", 2);
  const auto text = [&](std::int64_t elements, std::int64_t part) {
    const std::array inputs{std::optional(ElementwiseInput{DType::bf16, elements}),
                            std::optional(ElementwiseInput{DType::fp32, part})};
    return cuda::elementwise_source(program, inputs, std::array{DType::bf16}, elements).text;
  };
  EXPECT_EQ(text(4096, 4096), text(8192, 8192));
  EXPECT_EQ(text(4096, 64), text(8192, 64));
  EXPECT_NE(text(4096, 64), text(4096, 128));
  EXPECT_NE(text(4096, 4096), text(4096, 1));
}

/// Sources of every instruction, of both dtypes, with operands of every reach.
std::set<std::string> all_sources() {
  std::set<std::string> sources;
  const auto add = [&](const char* text, std::vector<ElementwiseInput> operands, DType result) {
    std::vector<std::optional<ElementwiseInput>> inputs(operands.begin(), operands.end());
    const auto program = kernels::parse_elementwise_program(text, static_cast<int>(inputs.size()));
    const std::vector<DType> results(program.returns.size(), result);
    sources.insert(cuda::elementwise_source(program, inputs, results, operands[0].elements).text);
  };
  constexpr std::int64_t kElements = 1 << 20;
  for (const DType t : kDTypes) {
    const ElementwiseInput whole{t, kElements};
    for (std::size_t i = 0; i < kPrograms.size(); ++i) {
      const ElementwiseInput part{DType::fp32, i % 2 == 0 ? 768 : 67};
      add(kPrograms[i], {whole, part, {DType::bf16, i == 0 ? 1 : 768}}, t);
    }
    add("return x0", {whole}, DType::bf16);
    add("return x0", {whole}, DType::fp32);
    add("t0 = multiply x0 x2; t1 = silu_grad t0 x1; return t1 x1", {whole, whole, whole}, t);
    add("t0 = add x0 inf; t1 = multiply t0 nan; t2 = scale t1 -inf; return t2", {whole}, t);
  }
  return sources;
}

TEST(ElementwiseSource, CompilesForDevices) {
  if (!cuda::nvrtc().is_open()) GTEST_SKIP() << cuda::nvrtc().problem();
  for (const std::string& source : all_sources()) {
    for (const char* architecture : {"sm_80", "sm_90a"}) {
      EXPECT_EQ(cuda::nvrtc_compile(source, architecture).substr(1, 3), "ELF");
    }
  }
}

}  // namespace
}  // namespace bessemer::testing
