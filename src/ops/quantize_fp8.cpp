// A matrix in 8-bit floating point, and its transpose; or what an element-wise program makes, so
// that it is quantized where it is made. Formats: kernels/fp8.h. Semantics: docs/ops.md.
#include <array>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/elementwise_program.h"
#include "kernels/fp8.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

using kernels::Fp8Block;
using kernels::kFp8Block;
using kernels::QuantizeFp8Use;

std::vector<std::string_view> operand_names(const OpUse& use, const QuantizeFp8Use& asked) {
  static constexpr std::array<std::string_view, 6> kInputs{"x", "x1", "x2", "x3", "x4", "x5"};
  if (asked.program.empty()) return {"x", "amax?"};
  const std::size_t inputs = asked.inputs(use.operands.size());
  require(0 < inputs && inputs <= kInputs.size(), "a program of {} operands, expected 1 to {}",
          inputs, kInputs.size());
  std::vector<std::string_view> names(kInputs.begin(),
                                      kInputs.begin() + static_cast<std::ptrdiff_t>(inputs));
  names.emplace_back("amax?");
  return names;
}

// What meets every element of `whole`: its own, the end of it, or one number a row.
bool meets(const Shape& shape, const Shape& whole) {
  Shape column = whole;
  column.back() = 1;
  return is_suffix(shape, whole) || shape == column;
}

void check_inputs(const Checker& check, std::size_t inputs) {
  for (std::size_t i = 1; i < inputs; ++i) {
    check.expect_fp32_or_bf16(i);
    check.require_that(meets(check.shape(i), check.shape(0)), i,
                       "expected {}, the end of it, or one number a row, found {}",
                       to_string(check.shape(0)), to_string(check.shape(i)));
  }
}

// As many values as the program returns.
void check_program(const QuantizeFp8Use& asked, std::size_t inputs) {
  std::size_t values = 1;
  if (!asked.program.empty()) {
    values =
        kernels::parse_elementwise_program(asked.program, static_cast<int>(inputs)).returns.size();
  }
  require(asked.values() == values, "attribute 'indices' has {} entries, expected {}",
          asked.values(), values);
}

// One number, or one of many.
void check_amax(const Checker& check, std::size_t amax, const QuantizeFp8Use& asked) {
  require(asked.assumed >= 0, "attribute 'assumed' is {}, expected 0 or more", asked.assumed);
  check.require_that(check.has(amax) == (asked.block == Fp8Block::tensor), amax,
                     "is needed with block \"tensor\" and with no other");
  if (!check.has(amax)) return;
  check.expect_dtype(amax, DType::fp32);
  const TensorType& type = check.type(amax);
  check.require_that(type.rank() <= 1, amax, "expected at most 1 dimension, found {}",
                     to_string(type));
  for (const std::int64_t index : asked.indices) {
    check.require_that(index >= 0 && index < type.elements(), amax, "has no element {}, found {}",
                       index, to_string(type));
  }
}

// Blocks are never cut: those of x along its columns (and rows, of squares), those of its transpose
// along its rows.
void check_blocks(const Checker& check, kernels::MatrixSize size, const QuantizeFp8Use& asked) {
  if (asked.block == Fp8Block::tensor) return;
  const bool rows_too = asked.transposed || asked.block == Fp8Block::square;
  check.require_that(size.columns % kFp8Block == 0 && (!rows_too || size.rows % kFp8Block == 0), 0,
                     "expected multiples of {} {}, found {}", kFp8Block,
                     rows_too ? "as rows and columns" : "as columns", to_string(check.type(0)));
}

std::vector<TensorType> result_types(const TensorType& x, DType format,
                                     const QuantizeFp8Use& asked) {
  const kernels::MatrixSize size = kernels::matrix_size(x), turned{size.columns, size.rows};
  std::vector<TensorType> results;
  for (std::size_t value = 0; value < asked.values(); ++value) {
    if (asked.keep) results.push_back(x);
    results.push_back({format, x.shape});
    results.push_back({DType::fp32, kernels::fp8_scale_shape(asked.block, size)});
    if (asked.transposed) results.push_back({format, {turned.rows, turned.columns}});
    if (asked.has_scale_t()) {
      results.push_back({DType::fp32, kernels::fp8_scale_shape(asked.block, turned)});
    }
    if (asked.sum) results.push_back({DType::fp32, {size.columns}});
  }
  const TensorType maxima{DType::fp32, {kernels::fp8_tiles(size)}};
  if (asked.measure) results.resize(results.size() + asked.values(), maxima);
  return results;
}

std::vector<TensorType> infer(const OpUse& use) {
  const QuantizeFp8Use asked(use.attributes);
  const Checker check(use, operand_names(use, asked));
  const std::size_t inputs = asked.program.empty() ? 1 : asked.inputs(use.operands.size());
  const TensorType& x = check.type(0);
  check.expect_fp32_or_bf16(0);
  check.require_that(x.rank() >= 2, 0, "expected at least 2 dimensions, found {}", to_string(x));
  const std::string format = use.attributes.text("format");
  const auto dtype = kernels::parse_fp8_format(format);
  require(dtype.has_value(), "attribute 'format' is \"{}\", expected \"e4m3\" or \"e5m2\"", format);
  check_amax(check, inputs, asked);
  check_inputs(check, inputs);
  check_program(asked, inputs);
  check_blocks(check, kernels::matrix_size(x), asked);
  return result_types(x, *dtype, asked);
}

// Made, scaled and rounded, and looked at for the largest where that is not given.
Work work(const OpUse& use, std::span<const TensorType> results) {
  const QuantizeFp8Use asked(use.attributes);
  double instructions = asked.block == Fp8Block::tensor ? 2 : 3;
  instructions *= static_cast<double>(asked.values());
  if (!asked.program.empty()) {
    const auto inputs = static_cast<int>(asked.inputs(use.operands.size()));
    const auto program = kernels::parse_elementwise_program(asked.program, inputs);
    instructions += static_cast<double>(program.instructions.size());
  }
  return memory_work(use, results, instructions * static_cast<double>(use.operand(0).elements()));
}

// Rows that share no scale: those of a plain matrix in blocks of one row.
std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType> results) {
  const QuantizeFp8Use asked(use.attributes);
  if (asked.block != Fp8Block::row || !asked.program.empty() || results.size() != 2) return {};
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
