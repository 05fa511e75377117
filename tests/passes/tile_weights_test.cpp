// What passes/tile_weights makes of graphs: which nodes are cut, where, and which stay whole.
#include "passes/tile_weights.h"

#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/op.h"

namespace bessemer::passes {
namespace {

using ir::Tier;

// A matrix of 5000 x 1024 has five blocks of 1008 rows; those of bf16 take two mebibytes each.
constexpr std::size_t kTwoBlocks = std::size_t{4} << 20;

std::string tiled(const std::string& text, const TierMap& tiers) {
  OffloadOptions options;
  options.largest_fetch = kTwoBlocks;
  const ir::Graph graph = tile_weights(ir::parse(text), tiers, options, {});
  ops::verify(graph);
  return ir::print(graph);
}

int count(const std::string& text, const std::string& what) {
  int found = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; ++at) ++found;
  return found;
}

TEST(TileWeights, AProductTakesTilesOfItsWeights) {
  const std::string inputs =
      "graph g\nweight %w: bf16[5000,1024] \"w\"\ndata %x: bf16[8,1024] \"x\"\n"
      "data %b: fp32[5000] \"b\"\n";
  EXPECT_EQ(tiled(inputs + "%y: bf16[8,5000] = matmul(%x, %w, %b) {activation=\"gelu\", "
                           "transpose_b=true}\nreturn \"y\" %y\n",
                  {{"w", Tier::host}}),
            inputs + R"(%fill: bf16[8,5000] = fill() {dtype="bf16", shape=[8,5000], value=0.0}
%fetch: bf16[2064384] = fetch(%w) {begin=0, end=2064384}
%reshape: bf16[2016,1024] = reshape(%fetch) {shape=[2016,1024]}
%matmul_tile: bf16[8,5000] = matmul_tile(%x, %reshape, %b, _, %fill) {activation="gelu", begin=0, part="columns"}
%fetch_1: bf16[2064384] = fetch(%w) {begin=2064384, end=4128768}
%reshape_1: bf16[2016,1024] = reshape(%fetch_1) {shape=[2016,1024]}
%matmul_tile_1: bf16[8,5000] = matmul_tile(%x, %reshape_1, %b, _, %matmul_tile) {activation="gelu", begin=2016, part="columns"}
%fetch_2: bf16[991232] = fetch(%w) {begin=4128768, end=5120000}
%reshape_2: bf16[968,1024] = reshape(%fetch_2) {shape=[968,1024]}
%matmul_tile_2: bf16[8,5000] = matmul_tile(%x, %reshape_2, %b, _, %matmul_tile_1) {activation="gelu", begin=4032, part="columns"}
return "y" %matmul_tile_2
)");
}

TEST(TileWeights, AnInputGradientIsASumOverTiles) {
  const std::string text = tiled(R"(graph g
weight %w: bf16[5000,1024] "w"
data %dy: bf16[8,5000] "dy"
data %r: bf16[8,1024] "r"
%dx: bf16[8,1024] = matmul(%dy, %w, _, %r)
return "dx" %dx
)",
                                 {{"w", Tier::file}});
  EXPECT_EQ(count(text, "part=\"depth\""), 3) << text;
  EXPECT_NE(text.find("%add: bf16[8,1024] = add(%r, %matmul_tile_2)"), std::string::npos) << text;
}

constexpr const char* kGradient = R"(graph g
parameter %w: fp32[5000,1024] "w"
gradient %g: fp32[5000,1024] "gradient.w"
data %dy: bf16[8,5000] "dy"
data %x: bf16[8,1024] "x"
data %ids: int32[8] "ids"
%dw: fp32[5000,1024] = matmul(%dy, %x, _, %g) {dtype="fp32", transpose_a=true}
%both: fp32[5000,1024] = embedding_grad(%x, %ids, %dw) {rows=5000}
)";

TEST(TileWeights, AGradientIsMadeAndStoredByAllThatAddToItInTurn) {
  const std::string text = tiled(std::string(kGradient) + "write \"gradient.w\" %both\n",
                                 {{"w", Tier::host}, {"gradient.w", Tier::host}});
  EXPECT_EQ(count(text, "part=\"rows\""), 5) << text;
  EXPECT_EQ(count(text, "embedding_grad("), 5) << text;
  EXPECT_EQ(count(text, "= store("), 10) << text;
  // Each adds to what was there when it began.
  EXPECT_EQ(count(text, "= fetch(%g)"), 5) << text;
  EXPECT_EQ(count(text, "= fetch(%store_4)"), 5) << text;
  EXPECT_NE(text.find("write \"gradient.w\" %store_9"), std::string::npos) << text;
}

struct WholeCase {
  const char* why;
  std::string text;
  TierMap tiers;
};

TEST(TileWeights, WhatCannotBeCutOrNeedNotBeStaysWhole) {
  const std::string inputs =
      "graph g\nweight %w: bf16[5000,1024] \"w\"\ndata %x: bf16[8,1024] \"x\"\n"
      "data %dy: bf16[8,5000] \"dy\"\ndata %b: fp32[1024] \"b\"\n";
  const std::string columns =
      "%y: bf16[8,5000] = matmul(%x, %w) {transpose_b=true}\nreturn \"y\" %y\n";
  const std::vector<WholeCase> cases{
      {"on the device", inputs + columns, {}},
      {"a bias after a sum over tiles",
       inputs + "%y: bf16[8,1024] = matmul(%dy, %w, %b)\nreturn \"y\" %y\n",
       {{"w", Tier::host}}},
      {"small",
       "graph g\nweight %w: bf16[500,1024] \"w\"\ndata %x: bf16[8,1024] \"x\"\n"
       "%y: bf16[8,500] = matmul(%x, %w) {transpose_b=true}\nreturn \"y\" %y\n",
       {{"w", Tier::host}}},
      {"used beside its chain",
       std::string(kGradient) + "return \"dw\" %dw\nwrite \"gradient.w\" %both\n",
       {{"gradient.w", Tier::host}}},
      {"something else adds",
       std::string(kGradient) +
           "%more: fp32[5000,1024] = scale(%both) {factor=2.0}\nwrite \"gradient.w\" %more\n",
       {{"gradient.w", Tier::host}}}};
  for (const WholeCase& c : cases) {
    const std::string text = tiled(c.text, c.tiers);
    EXPECT_EQ(count(text, "_tile(") + count(text, "fetch(") + count(text, "store("), 0)
        << c.why << "\n"
        << text;
    EXPECT_EQ(count(text, "\n"), count(c.text, "\n")) << c.why << "\n" << text;
  }
}

TEST(TileWeights, TheHeadTakesAChunkOfRowsAfterTheOther) {
  const std::string text = tiled(R"(graph g
weight %w: bf16[5000,1024] "w"
gradient %g: fp32[5000,1024] "gradient.w"
data %x: bf16[8,1024] "x"
data %targets: int32[8] "targets"
data %dloss: fp32[] "dloss"
%loss: fp32[], %dx: bf16[8,1024], %dw: fp32[5000,1024] = linear_cross_entropy_train(%dloss, %x, %w, %targets) {chunk=5}
return "loss" %loss
return "dx" %dx
write "gradient.w" %dw
)",
                                 {{"w", Tier::host}, {"gradient.w", Tier::host}});
  EXPECT_EQ(count(text, "part=\"columns\""), 2 * 3) << text;
  EXPECT_EQ(count(text, "part=\"depth\""), 2 * 3) << text;
  EXPECT_EQ(count(text, "part=\"rows\""), 2 * 5) << text;
  EXPECT_EQ(count(text, "cross_entropy_rows_train("), 2) << text;
  EXPECT_EQ(count(text, "= store("), 2 * 5) << text;
}

}  // namespace
}  // namespace bessemer::passes
