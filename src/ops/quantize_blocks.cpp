// Numbers in 8 bits, and back. Format: kernels/quantized_blocks.h. Semantics: docs/ops.md.
#include "kernels/quantized_blocks.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

TensorType with_width(DType dtype, Shape shape, std::int64_t width) {
  shape.back() = width;
  return {dtype, std::move(shape)};
}

std::vector<TensorType> infer_quantize(const OpUse& use) {
  const Checker check(use, {"x"});
  const TensorType& x = check.floating_at_least(0, 1);
  return {with_width(DType::int8, x.shape, kernels::quantized_width(x.dim(-1)))};
}

std::vector<TensorType> infer_dequantize(const OpUse& use) {
  const Checker check(use, {"x"});
  check.expect_dtype(0, DType::int8);
  const TensorType& x = check.type(0);
  check.require_that(x.rank() >= 1, 0, "expected at least one dimension, found {}", to_string(x));
  const std::int64_t width = kernels::width_before_quantizing(x.dim(-1));
  check.require_that(width >= 0, 0, "no row has {} bytes in 8 bits", x.dim(-1));
  use.attributes.text("dtype");
  return {with_width(dtype_attribute(use.attributes, DType::fp32), x.shape, width)};
}

// Two operations an element: it is scaled and rounded.
Work work_quantize(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, 2 * static_cast<double>(use.operand(0).elements()));
}

Work work_dequantize(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, static_cast<double>(results[0].elements()));
}

// A block is never cut.
std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType> results) {
  std::vector<SplitAxis> axes;
  for (int d = 0; d + 1 < results[0].rank(); ++d) axes.push_back(split(use, {d}, {d}));
  return axes;
}

}  // namespace

OpDefinition quantize_blocks_op() {
  return {.name = "quantize_blocks",
          .infer = infer_quantize,
          .gradient = nullptr,
          .work = work_quantize,
          .sharding = sharding,
          .candidates = {
              {"cpu.quantize_blocks", kernels::cpu::quantize_blocks},
              {"cuda.quantize_blocks", kernels::cuda::quantize_blocks, kernels::Backend::cuda},
              {"reference", kernels::reference::quantize_blocks}}};
}

OpDefinition dequantize_blocks_op() {
  return {.name = "dequantize_blocks",
          .infer = infer_dequantize,
          .gradient = nullptr,
          .work = work_dequantize,
          .sharding = sharding,
          .candidates = {
              {"cpu.dequantize_blocks", kernels::cpu::dequantize_blocks},
              {"cuda.dequantize_blocks", kernels::cuda::dequantize_blocks, kernels::Backend::cuda},
              {"reference", kernels::reference::dequantize_blocks}}};
}

}  // namespace bessemer::ops
