// y = activation(a b + bias) + addend, or gelu's gradient in the place of the activation, and the
// sums of a's rows where they are asked for.
// Semantics: docs/ops.md.
#include <algorithm>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

struct Sizes {
  std::int64_t m, n, k;
};

bool is_shared(const TensorType& b) { return b.rank() == 2; }

Sizes sizes_of(const TensorType& a, const TensorType& b, bool transpose_a, bool transpose_b) {
  return {a.dim(transpose_a ? -1 : -2), b.dim(transpose_b ? -2 : -1), a.dim(transpose_a ? -2 : -1)};
}

bool transpose_a(const Attributes& attributes) { return attributes.boolean("transpose_a", false); }
bool transpose_b(const Attributes& attributes) { return attributes.boolean("transpose_b", false); }
bool row_sums(const Attributes& attributes) { return attributes.boolean("row_sums", false); }
std::string activation(const Attributes& attributes) {
  return attributes.text("activation", "none");
}

void check_leading(const Checker& check) {
  const TensorType& a = check.type(0);
  const TensorType& b = check.type(1);
  if (is_shared(b)) return;
  check.require_that(
      b.rank() == a.rank() && std::equal(a.shape.begin(), a.shape.end() - 2, b.shape.begin()), 1,
      "expected two dimensions or the leading ones of {}, found {}", to_string(a), to_string(b));
}

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"a", "b", "bias?", "addend?", "x?"});
  const bool ta = transpose_a(use.attributes), tb = transpose_b(use.attributes);
  const TensorType& a = check.floating_at_least(0, 2);
  const TensorType& b = check.floating_at_least(1, 2);
  check.expect_dtype(1, a.dtype);
  check_leading(check);
  check.require_that(!(ta && is_shared(b)) || a.rank() == 2, 0,
                     "transpose_a with a shared b expects two dimensions, found {}", to_string(a));
  const Sizes sizes = sizes_of(a, b, ta, tb);
  check.require_that(b.dim(tb ? -1 : -2) == sizes.k, 1,
                     "expected {} in dimension {} to meet a, found {}", sizes.k,
                     b.rank() - (tb ? 1 : 2), to_string(b));
  const std::string name = activation(use.attributes);
  const bool of_gradient = name == "gelu_tanh_grad";
  require(
      of_gradient || name == "none" || name == "gelu_tanh" || name == "gelu" || name == "silu",
      "attribute 'activation' is \"{}\", expected \"none\", \"gelu_tanh\", \"gelu\", \"silu\" or "
      "\"gelu_tanh_grad\"",
      name);
  require(of_gradient == use.has(4), "operand 4 (x): belongs to the activation gelu_tanh_grad");
  TensorType y{dtype_attribute(use.attributes, a.dtype), a.shape};
  y.shape[y.shape.size() - 2] = sizes.m;
  y.shape.back() = sizes.n;
  check.expect_shape(2, {sizes.n});
  check.expect(3, y);
  check.expect(4, y);
  if (!row_sums(use.attributes)) return {y};
  check.require_that(a.rank() == 2, 0, "row_sums expects two dimensions, found {}", to_string(a));
  return {y, {sum_dtype(a.dtype), {sizes.m}}};
}

// All leading dimensions as rows of one matrix: what the gradient of a shared b sums over.
ir::ValueId as_rows(Builder& builder, ir::ValueId x) {
  const TensorType& type = builder.type(x);
  return builder.reshape(x, {elements_of(leading(type.shape)), type.dim(-1)});
}

// With A = a or its transpose and B likewise, dA = dy B' and dB = A' dy; what is stored transposed
// gets the transposed product, so no operand ever has to be transposed by itself. dA keeps the
// shape of A, so that a sum of gradients meets products it can be fused into.
std::vector<ir::ValueId> gradient(Builder& builder, const ir::Node& node,
                                  std::span<const ir::ValueId> result_gradients) {
  require(activation(node.attributes) == "none",
          "matmul: differentiate before fusing; activation '{}' has no gradient here",
          activation(node.attributes));
  require(result_gradients.size() == 1 || result_gradients[1] == ir::kAbsent,
          "matmul: no gradient through the sums of rows");
  const ir::ValueId a = node.operands[0], b = node.operands[1], whole_dy = result_gradients[0];
  const bool ta = transpose_a(node.attributes), tb = transpose_b(node.attributes);
  const TensorType a_type = builder.type(a), b_type = builder.type(b);
  const ir::ValueId dy = cast_to(builder, whole_dy, a_type.dtype);
  const auto product = [&](ir::ValueId left, ir::ValueId right, bool tl, bool tr, DType dtype) {
    return builder.add(
        "matmul", {left, right},
        {{"transpose_a", tl}, {"transpose_b", tr}, {"dtype", std::string(name_of(dtype))}});
  };
  const DType db_dtype = is_shared(b_type) ? sum_dtype(b_type.dtype) : b_type.dtype;
  auto gradients = no_gradients(node);
  gradients[0] =
      ta ? product(b, dy, tb, true, a_type.dtype) : product(dy, b, false, !tb, a_type.dtype);
  const bool shared = is_shared(b_type);
  const ir::ValueId a2 = shared ? as_rows(builder, a) : a;
  const ir::ValueId dy2 = shared ? as_rows(builder, dy) : dy;
  gradients[1] = tb ? product(dy2, a2, true, ta, db_dtype) : product(a2, dy2, !ta, false, db_dtype);
  if (has_operand(node, 2)) {
    gradients[2] = sum_to_suffix(builder, whole_dy, builder.type(node.operands[2]).shape,
                                 sum_dtype(builder.type(whole_dy).dtype));
  }
  if (has_operand(node, 3)) gradients[3] = whole_dy;
  return gradients;
}

// What a part of a product that is cut by rows spends beside it on each element of the weight, or
// of the weight's gradient: it packs the whole weight anew, and reads and writes all sums so far.
constexpr double kPartFlops = 9;

Work work(const OpUse& use, std::span<const TensorType> results) {
  const TensorType& a = use.operand(0);
  const double k = static_cast<double>(a.dim(transpose_a(use.attributes) ? -2 : -1));
  const double y = static_cast<double>(results[0].elements());
  double flops = 2 * y * k;
  for (const std::size_t epilogue : {2, 3, 4}) flops += use.has(epilogue) ? y : 0;
  if (row_sums(use.attributes)) flops += static_cast<double>(a.elements());
  Work total = memory_work(use, results, flops);
  total.unit = Unit::product;
  if (use.attributes.find("parts") != nullptr) {
    const TensorType& of_weight = transpose_a(use.attributes) ? results[0] : use.operand(1);
    total.vector_flops = kPartFlops * static_cast<double>(of_weight.elements());
  }
  return total;
}

std::vector<SplitAxis> sharding(const OpUse& use, std::span<const TensorType>) {
  const auto rank = static_cast<int>(use.operand(0).rank());
  const bool shared = is_shared(use.operand(1));
  const int b_rank = static_cast<int>(use.operand(1).rank());
  const bool ta = transpose_a(use.attributes), tb = transpose_b(use.attributes);
  constexpr int whole = SplitAxis::kWhole;
  std::vector<SplitAxis> axes;
  for (int d = 0; d < rank - 2; ++d) {
    axes.push_back(split(use, {d, shared ? whole : d, whole, d, d}, {d}));
  }
  axes.push_back(
      split(use, {ta ? rank - 1 : rank - 2, whole, whole, rank - 2, rank - 2}, {rank - 2}));
  if (row_sums(use.attributes)) {  // every part of the columns would have all of them
    axes.back().result_dims.push_back(0);
  } else {
    axes.push_back(
        split(use, {whole, tb ? b_rank - 2 : b_rank - 1, 0, rank - 1, rank - 1}, {rank - 1}));
  }
  // Parts of the sum over k: what comes after the sum must not be done once a part.
  if (!use.has(2) && !use.has(3) && activation(use.attributes) == "none") {
    axes.push_back(
        split(use, {ta ? rank - 2 : rank - 1, tb ? b_rank - 1 : b_rank - 2}, {SplitAxis::kReduce}));
    if (row_sums(use.attributes)) axes.back().result_dims.push_back(SplitAxis::kReduce);
  }
  return axes;
}

}  // namespace

OpDefinition matmul_op() {
  return {.name = "matmul",
          .infer = infer,
          .gradient = gradient,
          .work = work,
          .sharding = sharding,
          .candidates = {{"cpu.matmul", kernels::cpu::matmul},
                         {"cuda.matmul", kernels::cuda::matmul, kernels::Backend::cuda},
                         {"reference", kernels::reference::matmul}},
          .in_place = {{3, 0}}};
}

}  // namespace bessemer::ops
