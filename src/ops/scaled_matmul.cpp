// The product of two matrices in 8-bit floating point. Formats: kernels/fp8.h. Semantics:
// docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/fp8.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

using kernels::Fp8Block;
using kernels::kFp8Block;

Fp8Block block_a(const Attributes& attributes) { return kernels::fp8_block(attributes, "block_a"); }
Fp8Block block_b(const Attributes& attributes) { return kernels::fp8_block(attributes, "block_b"); }

void check_factor(const Checker& check, std::size_t i, Fp8Block block) {
  const TensorType& type = check.type(i);
  check.require_that(is_fp8(type.dtype), i, "expected fp8_e4m3 or fp8_e5m2, found {}",
                     to_string(type));
  check.require_that(type.rank() >= 2, i, "expected at least 2 dimensions, found {}",
                     to_string(type));
  const kernels::MatrixSize size = kernels::matrix_size(type);
  const bool cut = (block != Fp8Block::tensor && size.columns % kFp8Block != 0) ||
                   (block == Fp8Block::square && size.rows % kFp8Block != 0);
  check.require_that(!cut, i, "expected multiples of {} for its blocks, found {}", kFp8Block,
                     to_string(type));
  check.expect(i + 1, {DType::fp32, kernels::fp8_scale_shape(block, size)});
}

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"a", "scale_a", "b", "scale_b", "bias?", "addend?"});
  const Fp8Block of_a = block_a(use.attributes), of_b = block_b(use.attributes);
  require((of_a == Fp8Block::tensor) == (of_b == Fp8Block::tensor),
          "attributes 'block_a' and 'block_b': expected \"tensor\" for both or for neither");
  check_factor(check, 0, of_a);
  check_factor(check, 2, of_b);
  const TensorType& a = check.type(0);
  const TensorType& b = check.type(2);
  check.require_that(b.rank() == 2 && b.dim(1) == a.dim(-1), 2,
                     "expected [N, {}] to meet a, found {}", a.dim(-1), to_string(b));
  use.attributes.text("dtype");
  TensorType y{dtype_attribute(use.attributes, DType::bf16), a.shape};
  require(y.dtype == DType::bf16 || y.dtype == DType::fp32,
          "attribute 'dtype' is \"{}\", expected \"bf16\" or \"fp32\"", name_of(y.dtype));
  y.shape.back() = b.dim(0);
  check.expect_shape(4, {b.dim(0)});
  check.expect(5, y);
  return {y};
}

Work work(const OpUse& use, std::span<const TensorType> results) {
  const auto k = static_cast<double>(use.operand(0).dim(-1));
  const auto y = static_cast<double>(results[0].elements());
  double flops = 2 * y * k;
  for (const std::size_t epilogue : {4, 5}) flops += use.has(epilogue) ? y : 0;
  Work total = memory_work(use, results, flops);
  total.unit = Unit::product;
  return total;
}

// What shares no scale may be cut; parts of the sum over k only where nothing comes after it.
std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType>) {
  const auto rank = static_cast<int>(use.operand(0).rank());
  constexpr int whole = SplitAxis::kWhole;
  std::vector<SplitAxis> axes;
  const Fp8Block of_a = block_a(use.attributes), of_b = block_b(use.attributes);
  if (of_a == Fp8Block::tensor) {
    for (int d = 0; d < rank - 1; ++d) {
      axes.push_back(split(use, {d, whole, whole, whole, whole, d}, {d}));
    }
    axes.push_back(split(use, {whole, whole, 0, whole, 0, rank - 1}, {rank - 1}));
    if (!use.has(4) && !use.has(5)) {
      axes.push_back(split(use, {rank - 1, whole, 1}, {SplitAxis::kReduce}));
    }
    return axes;
  }
  if (of_a == Fp8Block::row && rank == 2) {
    axes.push_back(split(use, {0, 1, whole, whole, whole, 0}, {0}));
  }
  if (of_b == Fp8Block::row) {
    axes.push_back(split(use, {whole, whole, 0, 1, 0, rank - 1}, {rank - 1}));
  }
  return axes;
}

}  // namespace

OpDefinition scaled_matmul_op() {
  return {
      .name = "scaled_matmul",
      .infer = infer,
      .gradient = nullptr,
      .work = work,
      .sharding = sharding,
      .candidates = {{"cpu.scaled_matmul", kernels::cpu::scaled_matmul},
                     {"cuda.scaled_matmul", kernels::cuda::scaled_matmul, kernels::Backend::cuda},
                     {"cuda.scaled_matmul_dequantized", kernels::cuda::scaled_matmul_dequantized,
                      kernels::Backend::cuda},
                     {"reference", kernels::reference::scaled_matmul}},
      .in_place = {{5, 0}}};
}

}  // namespace bessemer::ops
