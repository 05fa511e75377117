// Rows of a table by id, and their gradient. Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

void check_first(const Attributes& attributes) {
  const std::int64_t first = attributes.integer("first", 0);
  require(first >= 0 && first <= INT32_MAX, "attribute 'first' is {}, expected an id", first);
}

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"table", "ids", "into?"});
  const TensorType& table = check.floating_of(0, 2);
  check.expect_dtype(1, DType::int32);
  check_first(use.attributes);
  TensorType y{dtype_attribute(use.attributes, table.dtype), check.shape(1)};
  y.shape.push_back(table.dim(1));
  check.expect(2, y);
  return {y};
}

std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  const TensorType table = builder.type(node.operands[0]);
  const ir::ValueId dy = result_gradients[0], ids = node.operands[1];
  auto gradients = no_gradients(node);
  Attributes attributes = node.attributes;
  attributes.erase("dtype");
  attributes.set("rows", table.dim(0));
  gradients[0] = builder.add("embedding_grad", {dy, ids}, attributes);
  if (!has_operand(node, 2)) return gradients;
  // What the table replaced does not depend on `into`.
  const ir::ValueId zeros = builder.add(
      "fill", {},
      {{"shape", table.shape}, {"dtype", std::string(name_of(table.dtype))}, {"value", 0.0}});
  gradients[2] = builder.add("embedding", {zeros, ids, dy}, node.attributes);
  return gradients;
}

// Only the rows that the ids name are read.
Work work(const OpUse& use, std::span<const TensorType> results) {
  const double row_bytes = static_cast<double>(results[0].elements()) *
                           static_cast<double>(size_of(use.operand(0).dtype));
  return {.bytes_read = row_bytes + static_cast<double>(use.operand(1).bytes()),
          .bytes_written = static_cast<double>(results[0].bytes())};
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType>) {
  const auto ids_rank = static_cast<int>(use.operand(1).rank());
  std::vector<SplitAxis> axes{split(use, {1, SplitAxis::kWhole, ids_rank}, {ids_rank})};
  for (int d = 0; d < ids_rank; ++d) axes.push_back(split(use, {SplitAxis::kWhole, d, d}, {d}));
  return axes;
}

std::vector<TensorType> infer_grad(const OpUse& use) {
  const Checker check(use, {"dy", "ids", "addend?"});
  const TensorType& dy = check.floating_at_least(0, 1);
  check.expect(1, {DType::int32, leading(dy.shape)});
  check_first(use.attributes);
  const std::int64_t rows = use.attributes.integer("rows");
  require(rows >= 0 && rows <= INT32_MAX, "attribute 'rows' is {}, expected the table's size",
          rows);
  const TensorType result{sum_dtype(dy.dtype), {rows, dy.dim(-1)}};
  check.expect(2, result);
  return {result};
}

Work work_grad(const OpUse& use, std::span<const TensorType> results) {
  return memory_work(use, results, static_cast<double>(use.operand(0).elements()));
}

std::vector<SplitAxis> sharding_grad(const OpUse& use, std::span<const TensorType>) {
  const auto ids_rank = static_cast<int>(use.operand(1).rank());
  std::vector<SplitAxis> axes{split(use, {ids_rank, SplitAxis::kWhole, 1}, {1})};
  if (use.has(2)) return axes;  // each part would add the addend
  for (int d = 0; d < ids_rank; ++d) axes.push_back(split(use, {d, d}, {SplitAxis::kReduce}));
  return axes;
}

}  // namespace

OpDefinition embedding_op() {
  return {.name = "embedding",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.embedding", kernels::cpu::embedding},
                         {"cuda.embedding", kernels::cuda::embedding, kernels::Backend::cuda},
                         {"reference", kernels::reference::embedding}},
          .in_place = {{2, 0}},
          .runs_on_host = true};
}

OpDefinition embedding_grad_op() {
  return {
      .name = "embedding_grad",
      .infer = infer_grad,
      .gradient = nullptr,
      .work = work_grad,
      .sharding = sharding_grad,
      .candidates = {{"cpu.embedding_grad", kernels::cpu::embedding_grad},
                     {"cuda.embedding_grad", kernels::cuda::embedding_grad, kernels::Backend::cuda},
                     {"reference", kernels::reference::embedding_grad}},
      .in_place = {{2, 0}}};
}

}  // namespace bessemer::ops
