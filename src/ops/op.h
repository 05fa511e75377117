// What the compiler knows of an op: one OpDefinition per op, one file each (ops/NAME.cpp), listed
// in all_ops.cpp. Semantics of the ops: docs/ops.md. How to add one: docs/how-to-add-an-op.md.
#pragma once

#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/graph.h"
#include "kernels/kernel.h"

namespace bessemer::ops {

class Builder;

/// Operand types and attributes of one use of an op.
struct OpUse {
  std::vector<std::optional<TensorType>> operands;  // nullopt: absent
  Attributes attributes;

  bool has(std::size_t i) const { return i < operands.size() && operands[i].has_value(); }
  /// Error naming the operand's position where it is absent.
  const TensorType& operand(std::size_t i) const;
};

/// Result types, or an Error that names the operand at fault.
using InferFn = std::vector<TensorType> (*)(const OpUse& use);

/// Builds the gradients of the operands from those of the results (kAbsent: no gradient flows).
/// Returns one value per operand, kAbsent where the operand has none.
using GradientFn = std::vector<ir::ValueId> (*)(Builder& builder, const ir::Node& node,
                                                std::span<const ir::ValueId> result_gradients);

/// What does arithmetic: each has a rate of its own (cost/machine.h).
enum class Unit { vector, product, attention };

/// Cost of one run, for the planner. Flops count a multiply-add as two.
struct Work {
  double flops = 0;
  double bytes_read = 0;
  double bytes_written = 0;
  Unit unit = Unit::vector;  // does `flops`
  double vector_flops = 0;   // of the vector units, between the products: exponentials, packing
};
using WorkFn = Work (*)(const OpUse& use, std::span<const TensorType> results);

/// One way to cut an op over the ranks of a mesh axis: a dimension of some operands and results
/// that is split alike. An operand at kWhole is needed whole by every part; a result at kReduce is
/// a partial sum. `attribute` names an integer-list attribute one element of which is divided too.
struct SplitAxis {
  static constexpr int kWhole = -1;
  static constexpr int kReduce = -1;
  std::vector<int> operand_dims;
  std::vector<int> result_dims;
  std::string_view attribute = {};
  int attribute_index = 0;
};
using ShardingFn = std::vector<SplitAxis> (*)(const OpUse& use,
                                              std::span<const TensorType> results);

struct OpDefinition {
  std::string_view name;
  InferFn infer;
  GradientFn gradient;  // null: no gradient flows through this op
  WorkFn work;
  ShardingFn sharding;                               // null: every part needs everything
  std::vector<kernels::KernelCandidate> candidates;  // best first; the last is the reference
  std::vector<std::pair<int, int>> in_place = {};    // (operand, result) that may share a buffer
  bool is_view = false;  // result 0 is operand 0's bytes under another shape: no kernel runs
  int updates = -1;      // where that operand is given, result 0 is its bytes with some replaced
  bool runs_on_host = false;  // may run where its tensors lie in the host tier, all of them there
};

/// The definition of op `name`; Error where there is none.
const OpDefinition& definition_of(std::string_view name);
const OpDefinition* find_definition(std::string_view name);
std::span<const OpDefinition> all_ops();

/// Types and attributes of a node of `graph`.
OpUse use_of(const ir::Graph& graph, const ir::Node& node);

/// Checks the whole graph: SSA, known ops, inferred types equal to the stated ones, names unique,
/// writes that fit the persistent input they replace. Error names the line at fault.
void verify(const ir::Graph& graph);

/// Reads every operand once and writes every result once.
Work memory_work(const OpUse& use, std::span<const TensorType> results, double flops = 0);

}  // namespace bessemer::ops
