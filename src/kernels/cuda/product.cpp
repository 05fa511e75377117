#include "kernels/cuda/product.h"

#include <fmt/format.h>

#include "base/error.h"

namespace bessemer::kernels::cuda {
namespace {

bool is_by_blocks(const ProductSpec& spec) {
  return spec.block_a != Fp8Block::tensor || spec.block_b != Fp8Block::tensor;
}

void require_valid_dtypes(const ProductSpec& spec) {
  const bool wide = spec.a == spec.b && (spec.a == DType::fp32 || spec.a == DType::bf16);
  const bool narrow = spec.result == DType::bf16 && spec.a != DType::fp32;
  require((wide || (is_fp8(spec.a) && is_fp8(spec.b))) && (spec.result == DType::fp32 || narrow),
          "a product of {} and {} with a result of {}", name_of(spec.a), name_of(spec.b),
          name_of(spec.result));
  require(!spec.tf32 || spec.a == DType::fp32, "a product of {} in TF32", name_of(spec.a));
}

void require_valid_fp8(const ProductSpec& spec) {
  require(!spec.transpose_a && spec.transpose_b && spec.batch == 1 && spec.a_row == 0 &&
              spec.result_row == 0 && spec.activation == ProductSpec::Activation::none,
          "a product of fp8 operands that is not one of dense [m, k] and [n, k]");
  require((spec.block_a == Fp8Block::tensor) == (spec.block_b == Fp8Block::tensor),
          "a product of fp8 with one operand in blocks");
  require(!is_by_blocks(spec) || spec.k % kFp8Block == 0,
          "a product of fp8 in blocks with a depth of {}", spec.k);
}

}  // namespace

void require_valid(const ProductSpec& spec) {
  require_valid_dtypes(spec);
  require(spec.m > 0 && spec.n > 0 && spec.k > 0 && spec.batch > 0,
          "a product of {} x {} x {}, {} times", spec.m, spec.n, spec.k, spec.batch);
  require(!spec.addend || spec.activation == ProductSpec::Activation::none,
          "a product with an activation before an addend");
  require(spec.activation != ProductSpec::Activation::gelu_tanh_grad ||
              (!spec.bias && spec.result == spec.a && spec.result_row == 0),
          "a product with the derivative of an activation, and a bias or another dtype");
  require(
      !spec.row_sums || (spec.result == DType::fp32 && !spec.is_fp8() && !spec.tf32 && !spec.bias &&
                         spec.batch == 1 && spec.activation == ProductSpec::Activation::none),
      "a product with sums of rows, and a bias, an activation or another dtype");
  require(spec.batch == 1 || (spec.a_row == 0 && spec.result_row == 0),
          "a batch of products with rows of a given length");
  if (spec.is_fp8()) require_valid_fp8(spec);
}

// NVIDIA, cuBLAS 13.0: "cublasLtMatmul" (dtypes, alignment), "128-element 1D and 128x128 2D block
// scaling for FP8 data types".
std::string why_no_fp8_product(const ProductSpec& spec, int compute_capability) {
  if (compute_capability < 89) {
    return fmt::format("compute capability {}.{} does not multiply fp8", compute_capability / 10,
                       compute_capability % 10);
  }
  if (spec.a == DType::fp8_e5m2 && spec.b == DType::fp8_e5m2) return "both operands are fp8_e5m2";
  for (const std::int64_t size : {spec.m, spec.n, spec.k}) {
    if (size % 16 != 0) return fmt::format("a size of {}, no multiple of 16", size);
  }
  if (spec.bias && spec.result != DType::bf16) return "a bias beside fp8 is added in bf16 only";
  if (!is_by_blocks(spec)) return "";
  if (compute_capability != 90) return "fp8 in blocks is multiplied by compute capability 9.0 only";
  if (spec.block_a == Fp8Block::square && spec.block_b == Fp8Block::square) {
    return "both operands are in blocks of 128x128";
  }
  if (!has_block_scaling()) return "built with a cuBLASLt older than 12.9, without fp8 in blocks";
  return "";
}

}  // namespace bessemer::kernels::cuda
