#include "passes/chunk.h"

#include <algorithm>

namespace bessemer::passes {
namespace {

// Of the register tile of products; and fewer rows would make the products wait for memory.
constexpr std::int64_t kRowsMultiple = 8;
constexpr std::int64_t kFewestRows = 32;

bool is_head(const ir::Node& node) { return node.op.starts_with("linear_cross_entropy"); }

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t part_of(std::int64_t rows, std::int64_t parts) {
  return divide_up(divide_up(rows, parts), kRowsMultiple) * kRowsMultiple;
}

}  // namespace

ir::Graph chunk_head(ir::Graph graph, std::int64_t parts) {
  if (parts == 1) return graph;
  for (ir::Node& node : graph.nodes()) {
    if (!is_head(node)) continue;
    const std::int64_t chunk = node.attributes.integer("chunk");
    node.attributes.set("chunk", std::min(chunk, std::max(kFewestRows, part_of(chunk, parts))));
  }
  return graph;
}

ir::Graph chunk(ir::Graph graph, const Chunking& chunking) {
  return chunk_head(std::move(graph), chunking.head);
}

std::int64_t chunks_of(const ir::Graph& graph, const ir::Node& node) {
  if (!is_head(node)) return 1;
  const std::size_t targets = node.op == "linear_cross_entropy" ? 2 : 3;
  return divide_up(graph.type(node.operands[targets]).elements(), node.attributes.integer("chunk"));
}

std::optional<Chunking> finer_at(const ir::Graph& chunked, int at, const Chunking& chunking) {
  const auto index = static_cast<std::size_t>(at);
  if (index >= chunked.nodes().size() || !is_head(chunked.nodes()[index])) return std::nullopt;
  if (chunked.nodes()[index].attributes.integer("chunk") <= kFewestRows) return std::nullopt;
  Chunking finer = chunking;
  finer.head *= 2;
  return finer;
}

}  // namespace bessemer::passes
