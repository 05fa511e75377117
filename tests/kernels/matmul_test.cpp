// The CPU matrix product against plain loops in fp64.
#include <gtest/gtest.h>

#include <cmath>

#include "hwy/targets.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/onednn_product.h"
#include "support/kernel_runner.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;

struct Case {
  const char* name;
  Shape a, b;  // as stored
  bool transpose_a = false, transpose_b = false;
  const char* activation = "none";
  bool bias = false, addend = false;
};

const std::vector<Case> kCases = {
    {"one", {1, 1}, {1, 1}},
    {"row", {1, 70}, {70, 130}},
    {"column", {65, 33}, {33, 1}},
    {"tails", {37, 201}, {201, 53}},
    {"forward", {61, 400}, {99, 400}, false, true, "none", true},
    {"forward_gelu_tanh", {61, 40}, {99, 40}, false, true, "gelu_tanh", true},
    {"forward_gelu", {25, 40}, {50, 40}, false, true, "gelu", true, true},
    {"forward_silu", {25, 41}, {50, 41}, false, true, "silu", false, true},
    {"residual", {64, 96}, {48, 96}, false, true, "none", true, true},
    {"weight_gradient", {300, 45}, {300, 101}, true, false, "none", false, true},
    {"both", {203, 17}, {19, 203}, true, true},
    {"folded", {3, 5, 16}, {24, 16}, false, true, "none", true, true},
    {"batched", {3, 5, 16}, {3, 16, 24}},
    {"batched_transposed", {2, 3, 16, 5}, {2, 3, 24, 16}, true, true, "none", true, true},
    {"deep", {20, 9001}, {30, 9001}, false, true, "gelu_tanh", true, true},
    {"deep_sum", {9001, 20}, {9001, 30}, true, false, "none", true, true},
    {"wide", {5, 700}, {700, 7000}},
    {"decode", {1, 203}, {171, 203}, false, true, "silu", true, true},
    {"two_rows", {2, 96}, {203, 96}, false, true, "none", true, true},
    {"two_rows_beside", {2, 75}, {75, 203}, false, false, "gelu", true, true},
    {"three_rows", {3, 75}, {203, 75}, false, true, "gelu", true, true},
    {"eight_rows", {8, 129}, {100, 129}, false, true},
    {"nine_rows", {9, 129}, {100, 129}, false, true},
};

double activate(const std::string& name, double x) {
  if (name == "gelu_tanh") {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  if (name == "gelu") return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  if (name == "silu") return x / (1 + std::exp(-x));
  return x;
}

Shape result_shape(const Case& c) {
  Shape shape(c.a.begin(), c.a.end() - 2);
  shape.push_back(c.a[c.a.size() - (c.transpose_a ? 1 : 2)]);
  shape.push_back(c.b[c.b.size() - (c.transpose_b ? 2 : 1)]);
  return shape;
}

Tensor expected(const Case& c, const Operands& in, const TensorType& type) {
  Tensor result({DType::fp64, type.shape});
  const std::int64_t m = type.dim(-2), n = type.dim(-1);
  const std::int64_t k = c.a[c.a.size() - (c.transpose_a ? 2 : 1)];
  const bool shared = c.b.size() == 2;
  for (std::int64_t i = 0; i < result.size(); ++i) {
    const std::int64_t batch = i / (m * n), row = i / n % m, column = i % n;
    double sum = 0;
    for (std::int64_t l = 0; l < k; ++l) {
      const std::int64_t ia = batch * m * k + (c.transpose_a ? l * m + row : row * k + l);
      const std::int64_t ib =
          (shared ? 0 : batch * k * n) + (c.transpose_b ? column * k + l : l * n + column);
      sum += in[0]->get(ia) * in[1]->get(ib);
    }
    if (in[2]) sum += in[2]->get(column);
    sum = activate(c.activation, sum);
    if (in[3]) sum += in[3]->get(i);
    result.set(i, sum);
  }
  return result;
}

Operands make_operands(const Case& c, DType dtype, DType result, std::size_t misalign) {
  const Shape shape = result_shape(c);
  const double deviation =
      1 / std::sqrt(static_cast<double>(c.a[c.a.size() - (c.transpose_a ? 2 : 1)]));
  Operands in = {normal({dtype, c.a}, 1, 1.0, misalign),
                 normal({dtype, c.b}, 2, deviation, misalign), std::nullopt, std::nullopt};
  if (c.bias) in[2] = normal({dtype, {shape.back()}}, 3, 1.0, misalign);
  if (c.addend) in[3] = normal({result, shape}, 4, 1.0, misalign);
  return in;
}

double tolerance(DType result) { return result == DType::bf16 ? 5e-3 : 5e-6; }

struct Dtypes {
  DType operands, result;
};
const std::vector<Dtypes> kDtypes = {{DType::fp32, DType::fp32},
                                     {DType::bf16, DType::bf16},
                                     {DType::bf16, DType::fp32},
                                     {DType::fp32, DType::bf16}};

void check_all(std::size_t misalign, const std::vector<Dtypes>& all_dtypes = kDtypes,
               std::int64_t most_elements = 1 << 30) {
  for (const Case& c : kCases) {
    if (elements_of(c.a) + elements_of(c.b) > most_elements) continue;
    for (const Dtypes& dtypes : all_dtypes) {
      SCOPED_TRACE(std::string(c.name) + " " + std::string(name_of(dtypes.operands)) + " -> " +
                   std::string(name_of(dtypes.result)));
      const Operands in = make_operands(c, dtypes.operands, dtypes.result, misalign);
      const TensorType type{dtypes.result, result_shape(c)};
      const Attributes attributes{{"transpose_a", c.transpose_a},
                                  {"transpose_b", c.transpose_b},
                                  {"activation", std::string(c.activation)}};
      const KernelRun run = run_kernel(cpu::matmul, in, {type}, attributes, misalign);
      ASSERT_FALSE(run.declined) << *run.declined;
      EXPECT_LT(relative_difference(run.results[0], expected(c, in, type)),
                tolerance(dtypes.result));
      if (!c.addend) continue;
      const KernelRun shared = run_kernel(cpu::matmul, in, {type}, attributes, misalign, {{0, 3}});
      EXPECT_TRUE(same_bits(shared.results[0], run.results[0])) << "in place";
    }
  }
}

TEST(MatMul, Table) { check_all(0); }
TEST(MatMul, Misaligned) { check_all(3); }

// Dtypes that the own product takes on every machine, and the smaller shapes: one target is scalar.
TEST(MatMul, EverySimdTarget) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    check_all(1, {{DType::bf16, DType::bf16}, {DType::fp32, DType::bf16}}, 40'000);
    hwy::SetSupportedTargetsForTest(0);
  }
}

TEST(MatMul, DeclinesWithAReason) {
  const auto decline = [](DType a, DType b, DType result, Shape shape_a, bool transpose_a) {
    const TensorType type{result, {8, 8}};
    return run_kernel(cpu::matmul, {Tensor({a, shape_a}), Tensor({b, {8, 8}})}, {type},
                      {{"transpose_a", transpose_a}})
        .declined;
  };
  EXPECT_TRUE(decline(DType::fp64, DType::fp64, DType::fp64, {8, 8}, false));
  EXPECT_TRUE(decline(DType::fp16, DType::fp16, DType::fp16, {8, 8}, false));
  EXPECT_TRUE(decline(DType::fp32, DType::fp32, DType::fp32, {2, 8, 8}, true));
  EXPECT_FALSE(decline(DType::bf16, DType::bf16, DType::fp32, {8, 8}, false));
}

/// Bits of a product prepared by `make` for `threads`.
template <typename Make>
Tensor product_result(const Make& make, const cpu::ProductSpec& spec) {
  const Tensor a = normal({spec.a, {spec.m, spec.k}}, 1), b = normal({spec.b, {spec.n, spec.k}}, 2);
  Tensor result({spec.result, {spec.m, spec.n}});
  const auto product = make(spec);
  const Arena scratch(product->scratch_bytes());
  product->run({a.data(), b.data(), nullptr, nullptr, result.data(), scratch.data()});
  return result;
}

TEST(Gemm, BitsDependNeitherOnThreadsNorOnRows) {
  cpu::ProductSpec spec;
  spec.m = 130, spec.n = 300, spec.k = 500, spec.transpose_b = true;
  spec.a = spec.b = DType::bf16;
  const auto with_threads = [&](int threads) {
    return [threads](const cpu::ProductSpec& s) {
      kernels::Machine machine = kernels::Machine::detect();
      machine.threads = threads;
      return cpu::make_gemm(s, machine);
    };
  };
  const Tensor one = product_result(with_threads(1), spec);
  EXPECT_TRUE(same_bits(one, product_result(with_threads(2), spec)));
  spec.m = 7;
  const Tensor few = product_result(with_threads(2), spec);
  EXPECT_EQ(0, std::memcmp(few.data(), one.data(), few.type().bytes()));
}

// A weight's gradient, of parts of the tokens one after the other: each goes on with the sums of
// the one before. Deeper than one pass over k, in either way of splitting the work.
TEST(Gemm, ASumCutInPartsHasTheBitsOfTheWhole) {
  for (const auto& [m, n] : {std::pair{33, 70}, std::pair{300, 64}, std::pair{24, 900}}) {
    for (const bool begun : {false, true}) {
      cpu::ProductSpec spec;
      spec.m = m, spec.n = n, spec.k = 2500, spec.transpose_a = true, spec.addend = begun;
      spec.a = spec.b = DType::bf16;
      const Tensor a = normal({spec.a, {spec.k, m}}, 1), b = normal({spec.b, {spec.k, n}}, 2);
      const Tensor addend = normal({DType::fp32, {m, n}}, 3);
      const auto sum = [&](const std::vector<std::int64_t>& cuts, int threads) {
        kernels::Machine machine = kernels::Machine::detect();
        machine.threads = threads, machine.avx512_bf16 = false;
        Tensor result = addend;
        for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
          cpu::ProductSpec part = spec;
          part.k = cuts[i + 1] - cuts[i];
          part.addend = begun || i > 0;
          const auto product = cpu::make_divisible_product(part, machine);
          const Arena scratch(product->scratch_bytes());
          const auto row = static_cast<std::size_t>(cuts[i]) * size_of(spec.a);
          product->run({static_cast<const std::byte*>(a.data()) + row * static_cast<std::size_t>(m),
                        static_cast<const std::byte*>(b.data()) + row * static_cast<std::size_t>(n),
                        nullptr, part.addend ? result.data() : nullptr, result.data(),
                        scratch.data()});
        }
        return result;
      };
      const Tensor whole = sum({0, 2500}, 1);
      EXPECT_TRUE(same_bits(sum({0, 2500}, 2), whole)) << m;
      EXPECT_TRUE(same_bits(sum({0, 1, 130, 1025, 2500}, 1), whole)) << m;
      EXPECT_TRUE(same_bits(sum({0, 1000, 2000, 2500}, 3), whole)) << m;
    }
  }
}

TEST(Product, OneDnnDoesNotPassForDivisible) {
  cpu::ProductSpec spec;
  spec.m = 64, spec.n = 64, spec.k = 64;
  EXPECT_EQ(cpu::make_divisible_product(spec, kernels::Machine::detect()), nullptr);
  spec.a = spec.b = DType::bf16;
  kernels::Machine machine = kernels::Machine::detect();
  machine.avx512_bf16 = true;
  EXPECT_EQ(cpu::make_divisible_product(spec, machine), nullptr);
  spec.a = DType::fp64;
  EXPECT_EQ(cpu::make_divisible_product(spec, machine), nullptr);
}

// What a machine with bf16 instructions takes; oneDNN emulates them elsewhere.
TEST(OneDnnProduct, Bf16) {
  for (const DType result : {DType::bf16, DType::fp32}) {
    cpu::ProductSpec spec;
    spec.m = 33, spec.n = 65, spec.k = 100, spec.transpose_b = true;
    spec.a = spec.b = DType::bf16, spec.result = result;
    if (!cpu::make_onednn_product(spec)) GTEST_SKIP() << "oneDNN has no bf16 product here";
    const Tensor own = product_result(
        [](const auto& s) { return cpu::make_gemm(s, kernels::Machine::detect()); }, spec);
    const Tensor theirs =
        product_result([](const auto& s) { return cpu::make_onednn_product(s); }, spec);
    EXPECT_LT(relative_difference(own, theirs), tolerance(result));
  }
}

}  // namespace
}  // namespace bessemer::testing
