// A matrix in 8-bit floating point, and its transpose. Formats: kernels/fp8.h. Semantics:
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

Fp8Block block_of(const Attributes& attributes) { return fp8_block_attribute(attributes, "block"); }
bool transposed(const Attributes& attributes) { return attributes.boolean("transposed", false); }
bool measures(const Attributes& attributes) { return attributes.boolean("measure", false); }

// One number, or one of many.
void check_amax(const Checker& check, const Attributes& attributes) {
  const std::int64_t index = attributes.integer("index", 0);
  const double assumed = attributes.real("assumed", 0);
  require(assumed >= 0, "attribute 'assumed' is {}, expected 0 or more", assumed);
  if (!check.has(1)) return;
  check.expect_dtype(1, DType::fp32);
  const TensorType& amax = check.type(1);
  check.require_that(amax.rank() <= 1, 1, "expected at most 1 dimension, found {}",
                     to_string(amax));
  check.require_that(index >= 0 && index < amax.elements(), 1, "has no element {}, found {}", index,
                     to_string(amax));
}

// Blocks are never cut: those of x along its columns (and rows, of squares), those of its transpose
// along its rows.
void check_blocks(const Checker& check, kernels::MatrixSize size, Fp8Block block, bool transpose) {
  if (block == Fp8Block::tensor) return;
  const bool rows_too = transpose || block == Fp8Block::square;
  check.require_that(size.columns % kFp8Block == 0 && (!rows_too || size.rows % kFp8Block == 0), 0,
                     "expected multiples of {} {}, found {}", kFp8Block,
                     rows_too ? "as rows and columns" : "as columns", to_string(check.type(0)));
}

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"x", "amax?"});
  const TensorType& x = check.type(0);
  check.expect_fp32_or_bf16(0);
  check.require_that(x.rank() >= 2, 0, "expected at least 2 dimensions, found {}", to_string(x));
  const std::string format = use.attributes.text("format");
  const auto dtype = kernels::parse_fp8_format(format);
  require(dtype.has_value(), "attribute 'format' is \"{}\", expected \"e4m3\" or \"e5m2\"", format);
  const Fp8Block block = block_of(use.attributes);
  check.require_that(check.has(1) == (block == Fp8Block::tensor), 1,
                     "is needed with block \"tensor\" and with no other");
  check_amax(check, use.attributes);
  const kernels::MatrixSize size = kernels::matrix_size(x), turned{size.columns, size.rows};
  check_blocks(check, size, block, transposed(use.attributes));
  std::vector<TensorType> results{{*dtype, x.shape},
                                  {DType::fp32, kernels::fp8_scale_shape(block, size)}};
  if (transposed(use.attributes)) {
    results.push_back({*dtype, {turned.rows, turned.columns}});
    if (block != Fp8Block::tensor) {
      results.push_back({DType::fp32, kernels::fp8_scale_shape(block, turned)});
    }
  }
  if (measures(use.attributes)) results.push_back({DType::fp32, {}});
  return results;
}

// Scaled and rounded, and looked at for the largest where that is not given.
Work work(const OpUse& use, std::span<const TensorType> results) {
  const auto elements = static_cast<double>(use.operand(0).elements());
  return memory_work(use, results, (use.has(1) ? 2 : 3) * elements);
}

// Rows that share no scale: those of a plain matrix in blocks of one row.
std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType> results) {
  if (block_of(use.attributes) != Fp8Block::row || results.size() != 2) return {};
  if (use.operand(0).rank() != 2) return {};
  return {split(use, {0}, {0, 1})};
}

}  // namespace

OpDefinition quantize_fp8_op() {
  return {.name = "quantize_fp8",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.quantize_fp8", kernels::cpu::quantize_fp8},
                         {"cuda.quantize_fp8", kernels::cuda::quantize_fp8, kernels::Backend::cuda},
                         {"reference", kernels::reference::quantize_fp8}}};
}

}  // namespace bessemer::ops
