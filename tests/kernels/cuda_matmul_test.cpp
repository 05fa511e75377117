// The CUDA backend's matmul against the reference: which steps it is made of, for each mix of
// dtypes, bias, activation and addend.
#include <gtest/gtest.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/product.h"
#include "kernels/reference/reference.h"
#include "support/cuda_test.h"
#include "support/thread_orders.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;

using CudaMatMul = CudaTest;

struct Case {
  const char* name;
  Shape a, b;  // as stored
  bool transpose_a = false, transpose_b = false;
  bool every_mix = false;  // of dtypes, bias, activation and addend
};

const std::vector<Case> kCases = {
    {"one", {1, 1}, {1, 1}},
    {"row", {1, 768}, {97, 768}, false, true},
    {"tail", {5, 33}, {33, 61}, false, false, true},
    {"several_blocks", {67, 40}, {40, 64}},
    {"weight_gradient", {50, 45}, {50, 101}, true, false},
    {"folded", {3, 5, 16}, {24, 16}, false, true},
    {"batched", {2, 3, 16, 5}, {2, 3, 24, 16}, true, true},
};

struct Dtypes {
  DType operands, bias, result;
};
const std::vector<Dtypes> kDtypes = {{DType::fp32, DType::fp32, DType::fp32},
                                     {DType::fp32, DType::bf16, DType::bf16},
                                     {DType::bf16, DType::fp32, DType::bf16},
                                     {DType::bf16, DType::bf16, DType::bf16},
                                     {DType::bf16, DType::bf16, DType::fp32}};

Shape result_shape(const Case& c) {
  Shape shape(c.a.begin(), c.a.end() - 2);
  shape.push_back(c.a[c.a.size() - (c.transpose_a ? 1 : 2)]);
  shape.push_back(c.b[c.b.size() - (c.transpose_b ? 2 : 1)]);
  return shape;
}

Operands operands_of(const Case& c, const Dtypes& dtypes, bool bias, bool addend) {
  const Shape shape = result_shape(c);
  const auto k = static_cast<double>(c.a[c.a.size() - (c.transpose_a ? 2 : 1)]);
  Operands in = {normal({dtypes.operands, c.a}, 1),
                 normal({dtypes.operands, c.b}, 2, 1 / std::sqrt(k)), std::nullopt, std::nullopt};
  if (bias) in[2] = normal({dtypes.bias, {shape.back()}}, 3);
  if (addend) in[3] = normal({dtypes.result, shape}, 4);
  return in;
}

void check(const Case& c, const Dtypes& dtypes, const std::string& activation, bool bias,
           bool addend) {
  SCOPED_TRACE(fmt::format("{}: {} -> {}, activation {}, bias {} {}, addend {}", c.name,
                           name_of(dtypes.operands), name_of(dtypes.result), activation, bias,
                           name_of(dtypes.bias), addend));
  const Operands in = operands_of(c, dtypes, bias, addend);
  const TensorType type{dtypes.result, result_shape(c)};
  const Attributes attributes{
      {"transpose_a", c.transpose_a}, {"transpose_b", c.transpose_b}, {"activation", activation}};
  const KernelRun expected = run_kernel(reference::matmul, in, {type}, attributes);
  const KernelRun run = run_in_each_thread_order(cuda::matmul, in, {type}, attributes);
  ASSERT_FALSE(run.declined) << *run.declined;
  // The sum, the bias and the result are rounded, each once.
  const double allowed = dtypes.result == DType::bf16 ? 8e-3 : 1e-5;
  EXPECT_LE(relative_difference(run.results[0], expected.results[0]), allowed);
  if (!addend) return;
  const KernelRun shared = run_cuda_kernel(cuda::matmul, in, {type}, attributes, {{0, 3}});
  EXPECT_TRUE(same_bits(shared.results[0], run.results[0])) << "in place";
}

TEST_F(CudaMatMul, AgreesWithReference) {
  for (const Case& c : kCases) {
    for (const Dtypes& dtypes : kDtypes) {
      if (!c.every_mix) {
        check(c, dtypes, "none", true, false);
        check(c, dtypes, "gelu", false, true);
        continue;
      }
      for (const auto* activation : {"none", "gelu_tanh", "gelu", "silu"}) {
        for (const bool bias : {false, true}) {
          for (const bool addend : {false, true}) check(c, dtypes, activation, bias, addend);
        }
      }
    }
  }
}

// By an epilogue where the rows of x are of 8 elements or more, else in a pass.
TEST_F(CudaMatMul, MultipliesByTheDerivativeOfGelu) {
  for (const std::int64_t n : {16, 13}) {
    for (const Dtypes& dtypes : kDtypes) {
      for (const bool addend : {false, true}) {
        const TensorType type{dtypes.result, {2, 9, n}};
        SCOPED_TRACE(
            fmt::format("{} of {}, addend {}", to_string(type), name_of(dtypes.operands), addend));
        Operands in{normal({dtypes.operands, {2, 9, 24}}, 1), normal({dtypes.operands, {24, n}}, 2),
                    std::nullopt, std::nullopt, normal(type, 4)};
        if (addend) in[3] = normal(type, 3);
        const Attributes attributes{{"activation", std::string("gelu_tanh_grad")}};
        const KernelRun expected = run_kernel(reference::matmul, in, {type}, attributes);
        const KernelRun run = run_in_each_thread_order(cuda::matmul, in, {type}, attributes);
        ASSERT_FALSE(run.declined) << *run.declined;
        EXPECT_LE(relative_difference(run.results[0], expected.results[0]),
                  dtypes.result == DType::bf16 ? 8e-3 : 1e-5);
      }
    }
  }
}

// By the epilogue where the null device has it, for rows in eights, and the product allows it; else
// by a kernel of their own.
TEST_F(CudaMatMul, SumsRows) {
  for (const Case& c : std::vector<Case>{{"in_eights", {300, 48}, {300, 33}, true},
                                         {"not_in_eights", {300, 45}, {300, 33}, true},
                                         {"one_row", {1, 768}, {768, 5}},
                                         {"of_rows", {16, 70}, {9, 70}, false, true}}) {
    for (const Dtypes& dtypes : kDtypes) {
      for (const auto* activation : {"none", "gelu_tanh"}) {
        for (const bool more : {false, true}) {
          SCOPED_TRACE(fmt::format("{}: {} -> {}, {}, bias and addend {}", c.name,
                                   name_of(dtypes.operands), name_of(dtypes.result), activation,
                                   more));
          for (const bool tf32 : {false, true}) {
            const Operands in = operands_of(c, dtypes, more, more);
            const Shape shape = result_shape(c);
            const std::vector<TensorType> types{{dtypes.result, shape}, {DType::fp32, {shape[0]}}};
            Attributes attributes{{"transpose_a", c.transpose_a}, {"transpose_b", c.transpose_b}};
            attributes.set("activation", std::string(activation));
            attributes.set("tf32", tf32);
            attributes.set("row_sums", true);
            const KernelRun expected = run_kernel(reference::matmul, in, types, attributes);
            const KernelRun run = run_in_each_thread_order(cuda::matmul, in, types, attributes);
            ASSERT_FALSE(run.declined) << *run.declined;
            EXPECT_LE(relative_difference(run.results[0], expected.results[0]),
                      dtypes.result == DType::bf16 || tf32 ? 8e-3 : 1e-5);
            EXPECT_LE(relative_difference(run.results[1], expected.results[1]), 1e-5);
          }
        }
      }
    }
  }
}

// What a weight's gradient is in a later micro-batch: with its addend, in place.
TEST_F(CudaMatMul, SumsRowsBesideAnAddendInPlace) {
  for (const std::int64_t m : {48, 45}) {
    const std::vector<TensorType> types{{DType::fp32, {m, 33}}, {DType::fp32, {m}}};
    const Operands in{normal({DType::bf16, {200, m}}, 1), normal({DType::bf16, {200, 33}}, 2),
                      std::nullopt, normal(types[0], 3)};
    const Attributes attributes{{"transpose_a", true}, {"row_sums", true}};
    const KernelRun expected = run_kernel(reference::matmul, in, types, attributes);
    const KernelRun shared = run_cuda_kernel(cuda::matmul, in, types, attributes, {{0, 3}});
    for (std::size_t r = 0; r < 2; ++r) {
      EXPECT_LE(relative_difference(shared.results[r], expected.results[r]), 1e-5) << m << " " << r;
    }
  }
}

TEST_F(CudaMatMul, ActivationsHoldAtTheEnds) {
  const TensorType type{DType::fp32, {1, 5}};
  const Operands in{of({DType::fp32, {1, 1}}, {1}), of(type, {-100, -1e-3, 0, 1e-3, 100})};
  for (const auto* activation : {"gelu_tanh", "gelu", "silu"}) {
    const Attributes attributes{{"activation", std::string(activation)}};
    const KernelRun run = run_cuda_kernel(cuda::matmul, in, {type}, attributes);
    EXPECT_NEAR(run.results[0].get(0), 0, 1e-30) << activation;
    EXPECT_EQ(run.results[0].get(4), 100) << activation;
    EXPECT_NEAR(run.results[0].get(1), -5e-4, 1e-6) << activation;
    EXPECT_EQ(run.results[0].get(2), 0) << activation;
  }
}

TEST_F(CudaMatMul, DeclinesWithAReason) {
  const auto declined = [](DType dtype, const Shape& a, const Shape& b, DType result) {
    const KernelRun run = run_cuda_kernel(cuda::matmul, {Tensor({dtype, a}), Tensor({dtype, b})},
                                          {{result, {a[0], b[1]}}});
    return run.declined && !run.declined->empty();
  };
  EXPECT_TRUE(declined(DType::fp64, {4, 4}, {4, 4}, DType::fp64));
  EXPECT_TRUE(declined(DType::fp16, {4, 4}, {4, 4}, DType::fp16));
  EXPECT_TRUE(declined(DType::fp32, {4, 4}, {4, 4}, DType::fp64));
  EXPECT_TRUE(declined(DType::fp32, {4, 0}, {0, 4}, DType::fp32));
  EXPECT_TRUE(declined(DType::fp32, {0, 4}, {4, 4}, DType::fp32));
  EXPECT_FALSE(declined(DType::bf16, {4, 4}, {4, 4}, DType::fp32));
}

// Factors lose 13 bits, by rounding or by cutting them off, and nothing else changes.
TEST_F(CudaMatMul, TakesFp32InTf32) {
  const Attributes tf32{{"tf32", true}};
  const TensorType y{DType::fp32, {64, 48}};
  Operands in{normal({DType::fp32, {64, 200}}, 1), normal({DType::fp32, {200, 48}}, 2)};
  const Tensor whole = run_cuda_kernel(cuda::matmul, in, {y}).results[0];
  const Tensor cut = run_in_each_thread_order(cuda::matmul, in, {y}, tf32).results[0];
  EXPECT_GT(relative_difference(cut, whole), 1e-5);
  EXPECT_LT(relative_difference(cut, whole), 0x1p-9);
  for (auto& operand : in) {  // of 8 bits, so that there is nothing to lose
    for (std::int64_t i = 0; i < operand->size(); ++i) {
      operand->set(i, static_cast<float>(BFloat16(static_cast<float>(operand->get(i)))));
    }
  }
  const Tensor exact = run_cuda_kernel(cuda::matmul, in, {y}).results[0];
  const Tensor same = run_cuda_kernel(cuda::matmul, in, {y}, tf32).results[0];
  EXPECT_LT(relative_difference(same, exact), 1e-6);
  // Of bf16 there is no such thing.
  Operands narrow{normal({DType::bf16, {4, 8}}, 1), normal({DType::bf16, {8, 4}}, 2)};
  EXPECT_FALSE(run_cuda_kernel(cuda::matmul, narrow, {{DType::bf16, {4, 4}}}, tf32).declined);
}

TEST(CudaProduct, RefusesWhatItsCommentsExclude) {
  cuda::ProductSpec spec{.m = 4, .n = 5, .k = 6};
  EXPECT_NO_THROW(cuda::require_valid(spec));
  const auto refused = [&](auto change) {
    cuda::ProductSpec other = spec;
    change(other);
    try {
      cuda::require_valid(other);
    } catch (const Error&) {
      return true;
    }
    return false;
  };
  EXPECT_TRUE(refused([](auto& s) { s.a = s.b = DType::fp64; }));
  EXPECT_TRUE(refused([](auto& s) { s.a = s.b = DType::fp32; }));  // with a bf16 result
  EXPECT_TRUE(refused([](auto& s) { s.b = DType::fp32; }));
  EXPECT_TRUE(refused([](auto& s) { s.tf32 = true; }));  // of bf16
  EXPECT_TRUE(refused([](auto& s) { s.k = 0; }));
  EXPECT_TRUE(refused([](auto& s) { s.batch = 2, s.result_row = 8; }));
  EXPECT_TRUE(refused([](auto& s) {
    s.addend = true;
    s.activation = cuda::ProductSpec::Activation::gelu_tanh;
  }));
  EXPECT_TRUE(refused([](auto& s) { s.a = s.b = DType::fp8_e4m3; }));  // b is not [n, k]
  spec.a = DType::fp8_e4m3, spec.b = DType::fp8_e5m2, spec.transpose_b = true;
  EXPECT_NO_THROW(cuda::require_valid(spec));
  EXPECT_TRUE(refused([](auto& s) { s.b = DType::bf16; }));
  EXPECT_TRUE(refused([](auto& s) { s.batch = 2; }));
  EXPECT_TRUE(refused([](auto& s) { s.block_a = kernels::Fp8Block::row; }));
  EXPECT_TRUE(refused([](auto& s) { s.block_a = s.block_b = kernels::Fp8Block::row; }));  // k 6
}

// What cuBLASLt has of fp8, by its documentation.
TEST(CudaProduct, IsOfFp8WhereTheDeviceHasIt) {
  using kernels::Fp8Block;
  const cuda::ProductSpec tensor{
      .m = 16, .n = 32, .k = 128, .a = DType::fp8_e4m3, .b = DType::fp8_e5m2, .transpose_b = true};
  const auto there = [](cuda::ProductSpec spec, int compute_capability, auto change) {
    change(spec);
    return cuda::why_no_fp8_product(spec, compute_capability).empty();
  };
  const auto as_it_is = [](auto&) {};
  EXPECT_FALSE(there(tensor, 80, as_it_is));
  EXPECT_TRUE(there(tensor, 89, as_it_is));
  EXPECT_TRUE(there(tensor, 90, as_it_is));
  EXPECT_TRUE(there(tensor, 120, as_it_is));
  EXPECT_FALSE(there(tensor, 90, [](auto& s) { s.a = DType::fp8_e5m2; }));
  EXPECT_FALSE(there(tensor, 90, [](auto& s) { s.m = 17; }));
  EXPECT_FALSE(there(tensor, 90, [](auto& s) { s.n = 40; }));
  EXPECT_FALSE(there(tensor, 90, [](auto& s) { s.bias = true, s.result = DType::fp32; }));
  EXPECT_TRUE(there(tensor, 90, [](auto& s) { s.bias = true; }));
  const auto rows = [](auto& s) { s.block_a = s.block_b = Fp8Block::row; };
  EXPECT_FALSE(there(tensor, 89, rows));
  EXPECT_FALSE(there(tensor, 100, rows));
  EXPECT_EQ(there(tensor, 90, rows), cuda::has_block_scaling());
  EXPECT_FALSE(there(tensor, 90, [](auto& s) { s.block_a = s.block_b = Fp8Block::square; }));
}

}  // namespace
}  // namespace bessemer::testing
