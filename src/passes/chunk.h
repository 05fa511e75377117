// The head, and the MLPs in backward, in parts of rows, one after the other, so that fewer logits
// and hidden values are there at once.
//
// chunk_head makes the chunk of the head and loss smaller.
//
// chunk_mlp cuts what lies between the nodes that make an MLP's hidden values in backward, again or
// from 8 bits, and those that use them: for each part of the rows the whole of it, with the
// gradients of the weights added up from part to part. Of a hidden value that comes from forward it
// takes the rows. Runs after `recompute`. Liu and Abbeel, "Blockwise parallel transformer for large
// context models", 2023, do the like in both passes.
//
// Numbers do not change: a row has nothing to do with another but in sums over rows, and these go
// on from part to part in the same order (kernels/cpu/gemm.h and reduce_sum.cpp). Where a kernel
// cannot promise that, the head keeps to a chunk of its own and an MLP is not cut.
//
// own_head_chunk writes that chunk of its own into the forward graph, before differentiate, which
// copies it: so that the head is priced at what it does.
#pragma once

#include <cstdint>
#include <optional>

#include "cost/machine.h"
#include "ir/graph.h"

namespace bessemer::passes {

/// Into how many parts: the chunk that the model gives the head, and the rows of MLPs.
struct Chunking {
  std::int64_t head = 1;
  std::int64_t mlp = 1;

  bool operator==(const Chunking&) const = default;
};

ir::Graph own_head_chunk(ir::Graph forward, const kernels::Machine& machine);
ir::Graph chunk_head(ir::Graph graph, std::int64_t parts);
ir::Graph chunk_mlp(ir::Graph recomputed, std::int64_t parts, const kernels::Machine& machine);

/// Both.
ir::Graph chunk(ir::Graph graph, const Chunking& chunking, const kernels::Machine& machine);

/// In how many chunks of rows the node does its work: of a head, and of the MLP
/// that the node is a part of; else 1.
std::int64_t chunks_of(const ir::Graph& graph, const ir::Node& node);

/// Twice as many parts of what node `at` of the chunked graph belongs to; nothing where that cannot
/// be cut or has few rows already. `at` may be the number of nodes: none of them.
std::optional<Chunking> finer_at(const ir::Graph& chunked, int at, const Chunking& chunking,
                                 const kernels::Machine& machine);

}  // namespace bessemer::passes
