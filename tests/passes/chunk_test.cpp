// Smaller chunks of the head: what is cut, and how far.
#include "passes/chunk.h"

#include <gtest/gtest.h>

#include "ir/text.h"

namespace bessemer::passes {
namespace {

constexpr const char* kHeads = R"(graph heads
data %x: bf16[300,16] "x"
data %t: int32[300] "t"
data %dloss: fp32[] "loss_scale"
weight %w: bf16[50,16] "w"
%y: bf16[300,16] = gelu(%x) {approximate="tanh"}
%loss: fp32[], %dx: bf16[300,16], %dw: fp32[50,16] = linear_cross_entropy_train(%dloss, %y, %w, %t) {chunk=150}
%other: fp32[], %lse: fp32[300] = linear_cross_entropy(%y, %w, %t) {chunk=40}
return "loss" %loss
return "other" %other
return "dx" %dx
return "dw" %dw
)";

std::vector<std::int64_t> chunks(const ir::Graph& graph) {
  return {graph.nodes()[1].attributes.integer("chunk"),
          graph.nodes()[2].attributes.integer("chunk")};
}

TEST(ChunkHead, CutsEvenlyInWholeTilesAndNotBelowTheFewestRows) {
  const ir::Graph graph = ir::parse(kHeads);
  using Rows = std::vector<std::int64_t>;
  EXPECT_EQ(ir::print(chunk(graph, {})), ir::print(graph));
  EXPECT_EQ(chunks(chunk_head(graph, 2)), (Rows{80, 32}));
  EXPECT_EQ(chunks(chunk_head(graph, 4)), (Rows{40, 32}));
  EXPECT_EQ(chunks(chunk_head(graph, 8)), (Rows{32, 32}));
  EXPECT_EQ(chunks(chunk_head(graph, 1000)), (Rows{32, 32}));
}

TEST(ChunkHead, CountsChunks) {
  const ir::Graph graph = ir::parse(kHeads);
  EXPECT_EQ(chunks_of(graph, graph.nodes()[0]), 1);
  EXPECT_EQ(chunks_of(graph, graph.nodes()[1]), 2);
  EXPECT_EQ(chunks_of(graph, graph.nodes()[2]), 8);
}

TEST(ChunkHead, IsFinerOnlyWhereThePeakIsAndUntilRowsAreFew) {
  const ir::Graph graph = ir::parse(kHeads);
  const auto after = static_cast<int>(graph.nodes().size());
  for (const int at : {-1, 0, after}) EXPECT_FALSE(finer_at(graph, at, {})) << at;
  Chunking chunking;
  std::vector<std::int64_t> parts;
  for (auto finer = finer_at(graph, 1, chunking); finer;
       finer = finer_at(chunk(graph, chunking), 1, chunking)) {
    chunking = *finer;
    parts.push_back(chunking.head);
  }
  EXPECT_EQ(parts, (std::vector<std::int64_t>{2, 4, 8}));
}

}  // namespace
}  // namespace bessemer::passes
