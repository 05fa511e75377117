// Sharding rules by brute force: cut the operands in two, run the parts, put the results together
// as the rule says, compare with the whole.
#include <map>

#include <gtest/gtest.h>

#include "ops/cases.h"

namespace bessemer::testing {
namespace {

using ops::SplitAxis;

constexpr int kParts = 2;

// Copies between `whole` and part `part` of it along `dim`.
template <typename Copy>
void for_part(const Shape& whole, int dim, int part, const Copy& copy) {
  const auto d = static_cast<std::size_t>(dim);
  std::int64_t inner = 1, outer = 1;
  for (std::size_t i = 0; i < whole.size(); ++i) (i < d ? outer : inner) *= whole[i];
  const std::int64_t run = inner / kParts;
  for (std::int64_t o = 0; o < outer; ++o) {
    for (std::int64_t i = 0; i < run; ++i) copy(o * inner + part * run + i, o * run + i);
  }
}

TensorType part_type(TensorType type, int dim) {
  type.shape[static_cast<std::size_t>(dim)] /= kParts;
  return type;
}

Tensor part_of(const Tensor& whole, int dim, int part) {
  Tensor result(part_type(whole.type(), dim));
  for_part(whole.type().shape, dim, part,
           [&](std::int64_t w, std::int64_t p) { result.set(p, whole.get(w)); });
  return result;
}

bool divides(const TensorType& type, int dim) {
  return type.shape.at(static_cast<std::size_t>(dim)) % kParts == 0;
}

bool can_split(const SplitAxis& axis, const ops::OpUse& use, std::span<const TensorType> results) {
  for (std::size_t i = 0; i < use.operands.size(); ++i) {
    if (axis.operand_dims[i] != SplitAxis::kWhole && !divides(use.operand(i), axis.operand_dims[i]))
      return false;
  }
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (axis.result_dims[i] != SplitAxis::kReduce && !divides(results[i], axis.result_dims[i]))
      return false;
  }
  return true;
}

std::vector<Tensor> run_part(const OpCase& use, const Operands& operands, const SplitAxis& axis,
                             int part) {
  Operands own;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const bool whole = axis.operand_dims[i] == SplitAxis::kWhole;
    own.push_back(whole ? operands[i]
                        : std::optional(part_of(*operands[i], axis.operand_dims[i], part)));
  }
  Attributes attributes = use.attributes;
  if (!axis.attribute.empty()) {
    auto list = attributes.integers(axis.attribute);
    list.at(static_cast<std::size_t>(axis.attribute_index)) /= kParts;
    attributes.set(axis.attribute, list);
  }
  return run_reference(use.op, own, attributes);
}

// Adds or places the results of one part into `together`.
void put(std::vector<Tensor>& together, const std::vector<Tensor>& results, const SplitAxis& axis,
         int part) {
  for (std::size_t i = 0; i < results.size(); ++i) {
    Tensor& whole = together[i];
    if (axis.result_dims[i] == SplitAxis::kReduce) {
      ASSERT_EQ(results[i].type(), whole.type()) << "partial sum " << i;
      for (std::int64_t e = 0; e < whole.size(); ++e)
        whole.set(e, whole.get(e) + results[i].get(e));
      continue;
    }
    ASSERT_EQ(results[i].type(), part_type(whole.type(), axis.result_dims[i])) << "result " << i;
    for_part(whole.type().shape, axis.result_dims[i], part,
             [&](std::int64_t w, std::int64_t p) { whole.set(w, results[i].get(p)); });
  }
}

void check_axis(const OpCase& use, const Operands& operands, const SplitAxis& axis,
                const std::vector<Tensor>& expected) {
  std::vector<Tensor> together;
  for (const Tensor& result : expected) together.emplace_back(result.type());  // zeros
  for (int part = 0; part < kParts; ++part) {
    put(together, run_part(use, operands, axis, part), axis, part);
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    // Sums of parts that are themselves rounded to fewer bits differ by that rounding.
    const double tolerance = expected[i].type().dtype == DType::fp64 ? 1e-12 : 1e-6;
    EXPECT_LE(relative_difference(together[i], expected[i]), tolerance) << "result " << i;
  }
}

TEST(Sharding, PartsMakeTheWhole) {
  std::map<std::string, int> tried;
  for (const OpCase& use : all_cases()) {
    const ops::OpDefinition& op = ops::definition_of(use.op);
    if (op.sharding == nullptr) continue;
    const Operands operands = use.operands(DType::fp64);
    const ops::OpUse op_use = use_of(operands, use.attributes);
    const auto types = op.infer(op_use);
    const auto expected = run_reference(use.op, operands, use.attributes);
    const auto axes = op.sharding(op_use, types);
    for (std::size_t a = 0; a < axes.size(); ++a) {
      SCOPED_TRACE(use.describe(DType::fp64) + ", axis " + std::to_string(a));
      ASSERT_EQ(axes[a].operand_dims.size(), operands.size());
      ASSERT_EQ(axes[a].result_dims.size(), types.size());
      if (!can_split(axes[a], op_use, types)) continue;
      ++tried[use.op];
      check_axis(use, operands, axes[a], expected);
    }
  }
  for (const ops::OpDefinition& op : ops::all_ops()) {
    if (op.sharding != nullptr) {
      EXPECT_GT(tried[std::string(op.name)], 0) << op.name << ": no axis of any case divides";
    }
  }
}

// What the shard pass relies on, stated once more as a table.
TEST(Sharding, MatmulKeepsItsEpilogueOutOfPartialSums) {
  const auto axes_of = [](std::vector<std::optional<TensorType>> operands, Attributes attributes) {
    const ops::OpDefinition& op = ops::definition_of("matmul");
    const ops::OpUse use{std::move(operands), std::move(attributes)};
    int partial = 0;
    for (const SplitAxis& axis : op.sharding(use, op.infer(use))) {
      partial += axis.result_dims[0] == SplitAxis::kReduce;
    }
    return partial;
  };
  const TensorType a{DType::fp32, {4, 8}}, b{DType::fp32, {8, 6}}, bias{DType::fp32, {6}},
      addend{DType::fp32, {4, 6}};
  EXPECT_EQ(axes_of({a, b}, {}), 1);
  EXPECT_EQ(axes_of({a, b, bias}, {}), 0);
  EXPECT_EQ(axes_of({a, b, std::nullopt, addend}, {}), 0);
  EXPECT_EQ(axes_of({a, b}, {{"activation", std::string("silu")}}), 0);
}

TEST(Sharding, OpsThatDrawNumbersAreNotSplit) {
  const TensorType q{DType::fp32, {2, 4, 4, 8}}, counter{DType::int64, {3}};
  const ops::OpDefinition& op = ops::definition_of("attention");
  ops::OpUse use{{q, q, q, std::nullopt, counter}, {{"scale", 1.0}, {"site", std::int64_t{1}}}};
  EXPECT_FALSE(op.sharding(use, op.infer(use)).empty());
  use.attributes.set("dropout", 0.1);
  EXPECT_TRUE(op.sharding(use, op.infer(use)).empty());
  EXPECT_EQ(ops::definition_of("dropout").sharding, nullptr);
}

}  // namespace
}  // namespace bessemer::testing
