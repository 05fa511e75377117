#include "ops/checks.h"

#include <algorithm>

namespace bessemer::ops {
namespace {

bool is_optional(std::string_view name) { return name.ends_with('?'); }

// Far above any tensor, and far below what overflows when sizes and bytes are multiplied.
constexpr std::int64_t kMostElements = std::int64_t{1} << 56;

}  // namespace

bool is_activation(DType dtype) {
  return dtype == DType::fp64 || dtype == DType::fp32 || dtype == DType::bf16 ||
         dtype == DType::fp16;
}

bool is_suffix(const Shape& shape, const Shape& whole) {
  return shape.size() <= whole.size() && std::equal(shape.rbegin(), shape.rend(), whole.rbegin());
}

Checker::Checker(const OpUse& use, std::vector<std::string_view> names)
    : use_(use), names_(std::move(names)) {
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (!is_optional(names_[i]) && !use.has(i)) fail_at(i, "is absent");
  }
  require(use.operands.size() <= names_.size(), "expected at most {} operands, found {}",
          names_.size(), use.operands.size());
}

void Checker::fail_at(std::size_t i, const std::string& message) const {
  std::string_view name = names_.at(i);
  if (is_optional(name)) name.remove_suffix(1);
  fail("operand {} ({}): {}", i, name, message);
}

const TensorType& Checker::floating(std::size_t i) const {
  require_that(is_activation(type(i).dtype), i, "expected fp64, fp32, bf16 or fp16, found {}",
               to_string(type(i)));
  return type(i);
}

const TensorType& Checker::floating_at_least(std::size_t i, std::int64_t rank) const {
  require_that(type(i).rank() >= rank, i, "expected at least {} dimensions, found {}", rank,
               to_string(type(i)));
  return floating(i);
}

const TensorType& Checker::floating_of(std::size_t i, std::int64_t rank) const {
  require_that(type(i).rank() == rank, i, "expected {} dimensions, found {}", rank,
               to_string(type(i)));
  return floating(i);
}

void Checker::expect(std::size_t i, const TensorType& expected) const {
  if (!has(i)) return;
  require_that(type(i) == expected, i, "expected {}, found {}", to_string(expected),
               to_string(type(i)));
}

void Checker::expect_shape(std::size_t i, const Shape& expected) const {
  if (!has(i)) return;
  require_that(shape(i) == expected, i, "expected {}, found {}", to_string(expected),
               to_string(shape(i)));
  floating(i);
}

void Checker::expect_dtype(std::size_t i, DType expected) const {
  if (!has(i)) return;
  require_that(type(i).dtype == expected, i, "expected {}, found {}", name_of(expected),
               to_string(type(i)));
}

void Checker::expect_fp32_or_bf16(std::size_t i) const {
  if (!has(i)) return;
  const DType dtype = type(i).dtype;
  require_that(dtype == DType::fp32 || dtype == DType::bf16, i, "expected fp32 or bf16, found {}",
               to_string(type(i)));
}

void Checker::expect_broadcast_pair() const {
  const TensorType& a = floating(0);
  const TensorType& b = floating(1);
  require_that(is_suffix(b.shape, a.shape), 1, "expected {} or the end of it, found {}",
               to_string(a.shape), to_string(b.shape));
  require_that(b.dtype == a.dtype || b.dtype == sum_dtype(a.dtype), 1,
               "expected {} or {} to meet {}, found {}", name_of(a.dtype),
               name_of(sum_dtype(a.dtype)), to_string(a), to_string(b));
}

DType dtype_attribute(const Attributes& attributes, DType fallback) {
  if (attributes.find("dtype") == nullptr) return fallback;
  const std::string name = attributes.text("dtype");
  const auto dtype = parse_dtype(name);
  require(dtype && is_activation(*dtype),
          "attribute 'dtype' is \"{}\", expected \"fp64\", \"fp32\", \"bf16\" or \"fp16\"", name);
  return *dtype;
}

std::int64_t dim_attribute(const Attributes& attributes, std::int64_t rank) {
  const std::int64_t dim = attributes.integer("dim");
  require(dim >= 0 && dim < rank, "attribute 'dim' is {}, expected a dimension below {}", dim,
          rank);
  return dim;
}

std::vector<std::int64_t> dims_attribute(const Attributes& attributes, std::int64_t rank) {
  auto dims = attributes.integers("dims");
  std::int64_t least = 0;
  for (const std::int64_t dim : dims) {
    require(dim >= least && dim < rank,
            "attribute 'dims' is {}, expected rising dimensions below {}", to_string(Shape(dims)),
            rank);
    least = dim + 1;
  }
  return dims;
}

Shape shape_attribute(const Attributes& attributes) {
  Shape shape = attributes.integers("shape");
  std::int64_t elements = 1;
  for (const std::int64_t size : shape) {
    require(size >= 0 && (size == 0 || elements <= kMostElements / size),
            "attribute 'shape' is {}: size {} is not possible", to_string(shape), size);
    elements *= std::max<std::int64_t>(size, 1);
  }
  return shape;
}

bool measures(const OpUse& use) { return use.attributes.boolean("measure", false); }

std::vector<TensorType> with_amax(const OpUse& use, std::vector<TensorType> results) {
  if (measures(use)) results.push_back({DType::fp32, {}});
  return results;
}

double probability_attribute(const Attributes& attributes, std::string_view name, double fallback) {
  const double probability = attributes.real(name, fallback);
  require(probability >= 0 && probability < 1, "attribute '{}' is {}, expected 0 <= {} < 1", name,
          probability, name);
  return probability;
}

ir::ValueId only_gradient(const ir::Node& node, std::span<const ir::ValueId> result_gradients) {
  for (std::size_t i = 1; i < result_gradients.size(); ++i) {
    require(result_gradients[i] == ir::kAbsent, "{}: no gradient flows through result {}", node.op,
            i);
  }
  return result_gradients[0];
}

ir::ValueId cast_to(Builder& builder, ir::ValueId x, DType dtype) {
  if (builder.type(x).dtype == dtype) return x;
  return builder.add("cast", {x}, {{"dtype", std::string(name_of(dtype))}});
}

ir::ValueId sum_to_suffix(Builder& builder, ir::ValueId x, const Shape& shape, DType dtype) {
  const std::size_t summed = builder.type(x).shape.size() - shape.size();
  if (summed == 0) return cast_to(builder, x, dtype);
  std::vector<std::int64_t> dims;
  for (std::size_t d = 0; d < summed; ++d) dims.push_back(static_cast<std::int64_t>(d));
  return builder.add("reduce_sum", {x},
                     {{"dims", std::move(dims)}, {"dtype", std::string(name_of(dtype))}});
}

DType suffix_gradient_dtype(const Builder& builder, const ir::Node& node) {
  const TensorType& a = builder.type(node.operands[0]);
  const TensorType& b = builder.type(node.operands[1]);
  return a.shape == b.shape ? b.dtype : sum_dtype(a.dtype);
}

Work copy_work(const OpUse&, std::span<const TensorType> results) {
  const auto bytes = static_cast<double>(results[0].bytes());
  return {.bytes_read = bytes, .bytes_written = bytes};
}

SplitAxis split(const OpUse& use, std::initializer_list<int> operand_dims,
                std::initializer_list<int> result_dims) {
  SplitAxis axis{operand_dims, result_dims};
  axis.operand_dims.resize(use.operands.size(), SplitAxis::kWhole);
  for (std::size_t i = 0; i < use.operands.size(); ++i) {
    if (!use.has(i)) axis.operand_dims[i] = SplitAxis::kWhole;
  }
  return axis;
}

std::vector<SplitAxis> split_elementwise(const OpUse& use, std::span<const TensorType> results) {
  std::vector<SplitAxis> axes;
  const auto rank = static_cast<int>(results[0].rank());
  for (int d = 0; d < rank; ++d) {
    SplitAxis axis = split(use, {}, {});
    axis.result_dims.assign(results.size(), d);
    for (std::size_t i = 0; i < use.operands.size(); ++i) {
      if (!use.has(i)) continue;
      const int own = d - (rank - static_cast<int>(use.operand(i).rank()));
      axis.operand_dims[i] = own >= 0 ? own : SplitAxis::kWhole;
    }
    axes.push_back(std::move(axis));
  }
  return axes;
}

std::vector<SplitAxis> split_but_dim(const OpUse& use, std::span<const TensorType> results) {
  auto axes = split_elementwise(use, results);
  axes.erase(axes.begin() + use.attributes.integer("dim"));
  return axes;
}

}  // namespace bessemer::ops
