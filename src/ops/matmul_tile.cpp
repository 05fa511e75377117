// A product with some rows of a matrix of weights, as a part of the product with all of them.
// Semantics: docs/ops.md.
#include "kernels/cpu/cpu.h"
#include "kernels/reference/reference.h"
#include "ops/all_ops.h"
#include "ops/checks.h"

namespace bessemer::ops {
namespace {

// How the tile's rows meet the other operand.
std::string part(const Attributes& attributes) { return attributes.text("part"); }
std::int64_t begin(const Attributes& attributes) { return attributes.integer("begin", 0); }

// Columns [begin, begin + N) of `into`.
TensorType infer_columns(const Checker& check, const Attributes& attributes) {
  const TensorType& a = check.type(0);
  const TensorType& b = check.type(1);
  const TensorType& into = check.floating_at_least(4, 1);
  check.require_that(b.dim(1) == a.dim(-1), 1, "expected {} columns to meet a, found {}", a.dim(-1),
                     to_string(b));
  check.require_that(leading(into.shape) == leading(a.shape), 4,
                     "expected the leading dimensions of {}, found {}", to_string(a),
                     to_string(into));
  const std::int64_t first = begin(attributes);
  check.require_that(first >= 0 && first + b.dim(0) <= into.dim(-1), 4,
                     "expected columns [{}, {}) in it, found {}", first, first + b.dim(0),
                     to_string(into));
  check.expect_shape(2, {into.dim(-1)});
  check.expect(3, into);
  return into;
}

// The part of the sum that columns [begin, begin + K) of a make.
TensorType infer_depth(const Checker& check, const Attributes& attributes) {
  const TensorType& a = check.type(0);
  const TensorType& b = check.type(1);
  const std::int64_t first = begin(attributes);
  check.require_that(first >= 0 && first + b.dim(0) <= a.dim(-1), 0,
                     "expected columns [{}, {}) in it, found {}", first, first + b.dim(0),
                     to_string(a));
  TensorType y{sum_dtype(a.dtype), leading(a.shape)};
  y.shape.push_back(b.dim(1));
  check.expect(3, y);
  return y;
}

// The rows of the gradient that columns [begin, end) of a make.
TensorType infer_rows(const Checker& check, const Attributes& attributes) {
  const TensorType& a = check.floating_of(0, 2);
  const TensorType& b = check.type(1);
  const std::int64_t first = begin(attributes), end = attributes.integer("end");
  check.require_that(first >= 0 && first <= end && end <= a.dim(1), 0,
                     "expected columns [{}, {}) in it, found {}", first, end, to_string(a));
  check.require_that(b.dim(0) == a.dim(0), 1, "expected {} rows to meet a, found {}", a.dim(0),
                     to_string(b));
  const TensorType y{sum_dtype(a.dtype), {end - first, b.dim(1)}};
  check.expect(3, y);
  return y;
}

std::vector<TensorType> infer(const OpUse& use) {
  const Checker check(use, {"a", "b", "bias?", "addend?", "into?"});
  check.floating_at_least(0, 2);
  check.floating_of(1, 2);
  const std::string how = part(use.attributes);
  require(how == "columns" || how == "depth" || how == "rows",
          "attribute 'part' is \"{}\", expected \"columns\", \"depth\" or \"rows\"", how);
  if (how == "columns") return {infer_columns(check, use.attributes)};
  for (const std::size_t i : {2, 4}) {
    check.require_that(!check.has(i), i, "expected none with part \"{}\"", how);
  }
  return {how == "depth" ? infer_depth(check, use.attributes) : infer_rows(check, use.attributes)};
}

// What a tile costs beside its product, for each element of the weights: it converts and packs
// them, or reads and writes the sums of their gradient so far. As in linear_cross_entropy.cpp.
constexpr double kPackFlops = 4;
constexpr double kSumFlops = 20;

// What it reads and writes of the wider matrices is its own columns only.
Work work(const OpUse& use, std::span<const TensorType> results) {
  const TensorType& a = use.operand(0);
  const TensorType& b = use.operand(1);
  const std::string how = part(use.attributes);
  const double rows = static_cast<double>(a.elements() / a.dim(-1));
  const double weights = static_cast<double>(how == "rows" ? results[0].elements() : b.elements());
  Work work{.flops = 2 * rows * weights,
            .bytes_read = static_cast<double>(b.bytes()),
            .bytes_written = static_cast<double>(results[0].bytes())};
  double a_bytes = static_cast<double>(a.bytes());
  if (how == "columns") {
    work.bytes_written *= static_cast<double>(b.dim(0)) / static_cast<double>(results[0].dim(-1));
  } else {
    const std::int64_t used = how == "depth" ? b.dim(0) : results[0].dim(0);
    a_bytes *= static_cast<double>(used) / static_cast<double>(a.dim(-1));
  }
  work.bytes_read += a_bytes + (use.has(3) ? work.bytes_written : 0);
  work.unit = Unit::product;
  work.vector_flops = (how == "rows" ? kSumFlops : kPackFlops) * weights;
  return work;
}

}  // namespace

OpDefinition matmul_tile_op() {
  return {.name = "matmul_tile",
          .infer = infer,
          .gradient = nullptr,
          .work = work,
          .sharding = nullptr,
          .candidates = {{"cpu.matmul_tile", kernels::cpu::matmul_tile},
                         {"reference", kernels::reference::matmul_tile}},
          .in_place = {{4, 0}, {3, 0}}};
}

}  // namespace bessemer::ops
