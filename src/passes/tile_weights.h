// The part of offload that comes first: memory-centric tiling (ZeRO-Infinity, Rajbhandari et al.,
// 2021). What works with a matrix of weights that is away, and larger than the largest piece that
// may be fetched, works with tiles of it, some rows each:
//
//   y = x wᵀ                     a tile makes columns of y
//   dx = dy w                    a tile makes a part of the sum, the parts are added in order
//   dw = dyᵀ x                   a tile of dw is made and stored, by all that add to dw in turn
//   head and cross entropy       the three of them, a chunk of rows after the other
//   lookup in a table, gradient  the rows whose ids are in the tile
//
// Same numbers, bit for bit: tiles are whole blocks of the product (kernels/product_block.h), and
// all else that is cut is independent of its neighbours.
//
// After: `fetch` and `store` nodes name the ranges; tiers are those of rewrite_for_tiers, which
// comes next. Left whole, because their parts would not have the bits of the whole: sums over tiles
// with a bias or an activation after them; the head where the machine multiplies bf16 itself; and a
// gradient to which something else adds.
#pragma once

#include "passes/offload.h"

namespace bessemer::passes {

ir::Graph tile_weights(ir::Graph graph, const TierMap& tiers, const OffloadOptions& options,
                       const cost::MachineDescription& machine);

/// The rounded copy of a table that an embedding may read in its place, where it rounds what it
/// reads and the table is away: the head has one. kAbsent where there is none.
ir::ValueId rounded_table(const ir::Graph& graph, const ir::Node& embedding, const TierMap& tiers);

}  // namespace bessemer::passes
