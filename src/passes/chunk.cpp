#include "passes/chunk.h"

#include <algorithm>

#include "base/rounding.h"
#include "ops/divisible.h"
#include "passes/mlp_regions.h"

namespace bessemer::passes {
namespace {

// Of the register tile of products; and fewer rows would make the products wait for memory.
constexpr std::int64_t kRowsMultiple = 8;
constexpr std::int64_t kFewestRows = 32;

bool is_head(const ir::Node& node) { return node.op.starts_with("linear_cross_entropy"); }

std::optional<std::int64_t> chunk_of_kernel(const ir::Graph& graph, const ir::Node& head,
                                            const kernels::Machine& machine) {
  const std::size_t x = head.op == "linear_cross_entropy" ? 0 : 1;
  return ops::own_head_chunk(graph.type(head.operands[x]), graph.type(head.operands[x + 1]),
                             machine);
}

std::int64_t part_of(std::int64_t rows, std::int64_t parts) {
  return round_up(divide_up(rows, parts), kRowsMultiple);
}

}  // namespace

ir::Graph own_head_chunk(ir::Graph forward, const kernels::Machine& machine) {
  for (ir::Node& node : forward.nodes()) {
    if (!is_head(node)) continue;
    if (const auto rows = chunk_of_kernel(forward, node, machine)) {
      node.attributes.set("chunk", *rows);
    }
  }
  return forward;
}

ir::Graph chunk_head(ir::Graph graph, std::int64_t parts) {
  if (parts == 1) return graph;
  for (ir::Node& node : graph.nodes()) {
    if (!is_head(node)) continue;
    const std::int64_t chunk = node.attributes.integer("chunk");
    node.attributes.set("chunk", std::min(chunk, std::max(kFewestRows, part_of(chunk, parts))));
  }
  return graph;
}

ir::Graph chunk(ir::Graph graph, const Chunking& chunking, const kernels::Machine& machine) {
  return chunk_mlp(chunk_head(std::move(graph), chunking.head), chunking.mlp, machine);
}

std::int64_t chunks_of(const ir::Graph& graph, const ir::Node& node) {
  if (!is_head(node)) return node.attributes.integer("parts", 1);
  const std::size_t targets = node.op == "linear_cross_entropy" ? 2 : 3;
  return divide_up(graph.type(node.operands[targets]).elements(), node.attributes.integer("chunk"));
}

std::optional<Chunking> finer_at(const ir::Graph& chunked, int at, const Chunking& chunking,
                                 const kernels::Machine& machine) {
  const auto index = static_cast<std::size_t>(at);
  if (index >= chunked.nodes().size()) return std::nullopt;
  const ir::Node& node = chunked.nodes()[index];
  Chunking finer = chunking;
  if (is_head(node)) {
    if (node.attributes.integer("chunk") <= kFewestRows) return std::nullopt;
    if (chunk_of_kernel(chunked, node, machine)) return std::nullopt;
    finer.head *= 2;
    return finer;
  }
  finer.mlp *= 2;
  if (chunking.mlp == 1) {
    for (const MlpRegion& region : mlp_regions(chunked, machine)) {
      const bool inside = region.first() <= at && at <= region.last();
      if (inside && mlp_part(region.rows, finer.mlp) < region.rows) return finer;
    }
    return std::nullopt;
  }
  if (node.attributes.find("parts") == nullptr) return std::nullopt;
  const ir::ValueId rows_of_it = node.op == "slice" ? node.results[0] : node.operands[0];
  const std::int64_t rows = chunked.type(rows_of_it).dim(0);
  return mlp_part(rows, 2) < rows ? std::optional(finer) : std::nullopt;
}

}  // namespace bessemer::passes
