// What the op files share: checks of operands whose failures name the operand, typed reads of
// attributes, and the small pieces that gradients and sharding rules are made of.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "ops/builder.h"
#include "ops/op.h"

namespace bessemer::ops {

/// S of docs/ops.md: the dtype of statistics and sums that belongs to `dtype`.
inline DType sum_dtype(DType dtype) { return dtype == DType::fp64 ? DType::fp64 : DType::fp32; }

/// fp64, fp32, bf16 or fp16.
bool is_activation(DType dtype);

/// `shape` without its last dimension.
inline Shape leading(const Shape& shape) { return {shape.begin(), shape.end() - 1}; }

/// True where `shape` equals the last dimensions of `whole`; a scalar is a suffix of everything.
bool is_suffix(const Shape& shape, const Shape& whole);

/// Checks the operands of one use. Every failure names the operand and says what was expected:
/// "operand 1 (gain): expected [64], found [32]".
class Checker {
 public:
  /// Operand names in order; a '?' at the end marks an optional one. Fails where a needed operand
  /// is absent or there are too many.
  Checker(const OpUse& use, std::vector<std::string_view> names);

  bool has(std::size_t i) const { return use_.has(i); }
  const TensorType& type(std::size_t i) const { return use_.operand(i); }
  const Shape& shape(std::size_t i) const { return type(i).shape; }

  /// The type of operand `i`, whose dtype must be one of activations and parameters.
  const TensorType& floating(std::size_t i) const;
  /// The same with at least, or exactly, `rank` dimensions.
  const TensorType& floating_at_least(std::size_t i, std::int64_t rank) const;
  const TensorType& floating_of(std::size_t i, std::int64_t rank) const;

  // These let an absent optional operand pass.
  void expect(std::size_t i, const TensorType& expected) const;
  void expect_shape(std::size_t i, const Shape& expected) const;  // in any floating dtype
  void expect_dtype(std::size_t i, DType expected) const;
  void expect_fp32_or_bf16(std::size_t i) const;

  /// a and b of add and multiply: b is a suffix of a, in a's dtype or the S that belongs to it.
  void expect_broadcast_pair() const;

  template <typename... Args>
  void require_that(bool condition, std::size_t i, fmt::format_string<Args...> format,
                    Args&&... args) const {
    if (!condition) fail_at(i, fmt::format(format, std::forward<Args>(args)...));
  }
  [[noreturn]] void fail_at(std::size_t i, const std::string& message) const;

 private:
  const OpUse& use_;
  std::vector<std::string_view> names_;
};

// Attributes; failures name the attribute.

/// An activation dtype; `fallback` where the attribute is absent.
DType dtype_attribute(const Attributes& attributes, DType fallback);
/// A dimension in [0, rank).
std::int64_t dim_attribute(const Attributes& attributes, std::int64_t rank);
/// Rising dimensions in [0, rank).
std::vector<std::int64_t> dims_attribute(const Attributes& attributes, std::int64_t rank);
/// Sizes not below 0 whose product is within bounds.
Shape shape_attribute(const Attributes& attributes);
/// In [0, 1).
double probability_attribute(const Attributes& attributes, std::string_view name, double fallback);

/// Whether the amax of result 0 is the last result (attribute `measure`).
bool measures(const OpUse& use);
/// `results`, and that of the amax where it is asked for.
std::vector<TensorType> with_amax(const OpUse& use, std::vector<TensorType> results);

// Gradients.

inline std::vector<ir::ValueId> no_gradients(const ir::Node& node) {
  return std::vector<ir::ValueId>(node.operands.size(), ir::kAbsent);
}

/// The gradient of result 0. Error where one flows into a later result: those are statistics, and
/// dropping it would be silently wrong.
ir::ValueId only_gradient(const ir::Node& node, std::span<const ir::ValueId> result_gradients);

/// `x` in `dtype`; `x` itself where it has that already.
ir::ValueId cast_to(Builder& builder, ir::ValueId x, DType dtype);

/// `x` summed over its leading dimensions down to `shape`, a suffix of its shape.
ir::ValueId sum_to_suffix(Builder& builder, ir::ValueId x, const Shape& shape, DType dtype);

/// The dtype of the gradient of operand 1 of add and multiply: S where it is summed down to a
/// suffix, else that of the operand.
DType suffix_gradient_dtype(const Builder& builder, const ir::Node& node);

inline bool has_operand(const ir::Node& node, std::size_t i) {
  return i < node.operands.size() && node.operands[i] != ir::kAbsent;
}

/// Work of an op that reads as many bytes as it writes, whatever the size of its operands.
Work copy_work(const OpUse& use, std::span<const TensorType> results);

// Sharding rules.

/// One axis from dimensions listed in the order of operands and results; operands that are absent
/// or beyond the list are whole.
SplitAxis split(const OpUse& use, std::initializer_list<int> operand_dims,
                std::initializer_list<int> result_dims);

/// Every dimension of result 0, split alike in all results and operands; an operand that is a
/// suffix is split where it has the dimension and whole elsewhere.
std::vector<SplitAxis> split_elementwise(const OpUse& use, std::span<const TensorType> results);

/// Every dimension but the attribute `dim`, split alike everywhere.
std::vector<SplitAxis> split_but_dim(const OpUse& use, std::span<const TensorType> results);

}  // namespace bessemer::ops
