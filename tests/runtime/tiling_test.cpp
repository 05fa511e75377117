// Models whose largest parameter is larger than the device: it is there in tiles only, and every
// number is that of everything resident.
#include <algorithm>

#include "support/offloaded.h"

namespace bessemer::testing {
namespace {

using ir::Tier;

constexpr std::size_t kMiB = std::size_t{1} << 20;

models::Architecture with_large_table(bool tied) {
  models::Architecture model = tied ? tiny_gpt2() : tiny_llama();
  model.layers = 1;
  model.hidden = 64;
  model.head_dim = 32;
  model.vocabulary = 66'001;
  return model;
}

models::Architecture with_large_layer() {
  models::Architecture model = tiny_gpt2();
  model.layers = 1;
  model.hidden = 512;
  model.head_dim = 256;
  model.ffn = 10'007;
  return model;
}

struct TilingCase {
  const char* name;
  models::Architecture model;
  passes::Recipe recipe;
  Tier tier;
  std::int64_t chunk;  // rows of the head at a time
};

// The head of a few tokens would be one chunk.
void set_chunk(std::vector<ir::Graph>& graphs, std::int64_t chunk) {
  for (ir::Graph& graph : graphs) {
    for (ir::Node& node : graph.nodes()) {
      if (node.attributes.find("chunk") != nullptr) node.attributes.set("chunk", chunk);
    }
  }
}

std::size_t largest_parameter(const plan::Plan& plan) {
  std::size_t largest = 0;
  for (const plan::CatalogEntry& entry : plan.catalog) {
    if (entry.role == ir::Role::parameter) largest = std::max(largest, entry.type.bytes());
  }
  return largest;
}

class Tiled : public ::testing::TestWithParam<TilingCase> {};

TEST_P(Tiled, KeepsTheBitsOnADeviceSmallerThanAParameter) {
  const TilingCase& c = GetParam();
  cost::MachineDescription machine = cost::describe_here();
  machine.cpu.avx512_bf16 = false;  // oneDNN's bf16 head is not cut
  std::vector<ir::Graph> graphs = step_graphs(c.model, c.recipe);
  set_chunk(graphs, c.chunk);
  PlannedStep resident(graphs, machine);
  passes::OffloadOptions options;
  options.optimizer = options.gradients = options.parameters = c.tier;
  options.largest_fetch = options.fetched_ahead = options.tile = kMiB;
  PlannedStep tiled(offloaded(graphs, options, machine), machine, {}, {.stored_behind = kMiB});
  EXPECT_LT(tiled.plan().arena_bytes, largest_parameter(tiled.plan()));
  EXPECT_GT(resident.plan().arena_bytes, 4 * largest_parameter(tiled.plan()));
  resident.set_vocabulary(c.model.vocabulary);
  tiled.set_vocabulary(c.model.vocabulary);
  expect_same_steps(resident, tiled, c.name, 2);
}

INSTANTIATE_TEST_SUITE_P(Table, Tiled,
                         ::testing::Values(TilingCase{"tied_bf16_host", with_large_table(true),
                                                      passes::Recipe::bf16, Tier::host, 5},
                                           TilingCase{"untied_fp32_file", with_large_table(false),
                                                      passes::Recipe::fp32, Tier::file, 12},
                                           TilingCase{"layer_bf16_file", with_large_layer(),
                                                      passes::Recipe::bf16, Tier::file, 12}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace bessemer::testing
