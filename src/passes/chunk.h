// The head in more, smaller chunks of rows, so that fewer logits are there at once.
//
// Numbers do not change: a row has nothing to do with another but in the sum of the weight's
// gradient, which goes on from chunk to chunk in the same order (kernels/cpu/gemm.h). Where a
// kernel cannot promise that it keeps to a chunk of its own, and there is nothing to gain.
#pragma once

#include <cstdint>
#include <optional>

#include "ir/graph.h"

namespace bessemer::passes {

/// Into how many parts, of the chunk that the model gives the head.
struct Chunking {
  std::int64_t head = 1;

  bool operator==(const Chunking&) const = default;
};

ir::Graph chunk_head(ir::Graph graph, std::int64_t parts);

/// All of it.
ir::Graph chunk(ir::Graph graph, const Chunking& chunking);

/// In how many chunks of rows the node does its work: 1 but for a head.
std::int64_t chunks_of(const ir::Graph& graph, const ir::Node& node);

/// Twice as many parts of what node `at` of the chunked graph belongs to; nothing where that cannot
/// be cut or has few rows already. `at` may be the number of nodes: none of them.
std::optional<Chunking> finer_at(const ir::Graph& chunked, int at, const Chunking& chunking);

}  // namespace bessemer::passes
