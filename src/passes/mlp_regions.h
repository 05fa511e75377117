// Where backward uses up the hidden values of an MLP, and makes them again: what chunk_mlp cuts.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cost/machine.h"
#include "ir/graph.h"

namespace bessemer::passes {

/// What an operand or result is to a node that works row by row.
enum class RowRole : std::uint8_t {
  rows,   // a row of it for each row
  whole,  // the same for all rows
  sum,    // over all rows
};

struct RowRoles {
  std::vector<RowRole> operands;
  RowRole result = RowRole::rows;
};

/// Roles of products, activations, their gradients, sums over rows and values restored from 8 bits;
/// nothing for other nodes, and for those whose kernel would give other bits for a part of the
/// rows.
std::optional<RowRoles> row_roles(const ir::Graph& graph, const ir::Node& node,
                                  const kernels::Machine& machine);

/// Activations that share hidden values, the nodes of backward that make these and those that use
/// them. Hidden values from forward are taken as they are.
struct MlpRegion {
  std::vector<int> nodes;  // in order; without views
  std::int64_t rows = 0;
  std::vector<bool> hidden;  // by value: hidden values made here and views of them

  int first() const { return nodes.front(); }
  int last() const { return nodes.back(); }
};

/// All regions of an ordered graph none of whose hidden values is an output or is used by anything
/// that cannot be cut, and between whose nodes nothing stands that must.
std::vector<MlpRegion> mlp_regions(const ir::Graph& graph, const kernels::Machine& machine);

/// Rows of each part but the last where so many rows are cut into `parts`, or into fewer: whole
/// blocks of sums over rows, and enough for products to run well.
std::int64_t mlp_part(std::int64_t rows, std::int64_t parts);

}  // namespace bessemer::passes
