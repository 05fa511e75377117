// Offloaded steps keep every bit of resident ones: whatever is moved, to whichever tier, with
// streams beside each other or in order.
#include "support/offloaded.h"

#include <fmt/format.h>

#include "base/rng.h"

namespace bessemer::testing {
namespace {

using ir::Tier;
using Streams = runtime::ExecutorOptions::Streams;

constexpr Tier kDevice = Tier::device, kHost = Tier::host, kFile = Tier::file;

passes::OffloadOptions moving(Tier optimizer, Tier gradients, Tier parameters, Tier activations) {
  passes::OffloadOptions options;
  options.optimizer = optimizer;
  options.gradients = gradients;
  options.parameters = parameters;
  options.activations = activations;
  options.smallest = 0;  // the models are tiny
  options.patience = 0;
  return options;
}

struct OffloadCase {
  const char* name;
  Tier optimizer, gradients, parameters, activations;
};

class Offloaded : public ::testing::TestWithParam<OffloadCase> {};

TEST_P(Offloaded, KeepsTheBits) {
  const OffloadCase& c = GetParam();
  const passes::OffloadOptions options =
      moving(c.optimizer, c.gradients, c.parameters, c.activations);
  const cost::MachineDescription machine = cost::describe_here();
  for (const models::Architecture& model : {tiny_gpt2(), tiny_llama()}) {
    for (const passes::Recipe recipe : {passes::Recipe::fp32, passes::Recipe::bf16}) {
      const std::vector<ir::Graph> graphs = step_graphs(model, recipe);
      const PlannedStep resident(graphs, machine);
      const PlannedStep moved(offloaded(graphs, options, machine), machine);
      EXPECT_LT(moved.plan().persistent_bytes, resident.plan().persistent_bytes + 1);
      expect_same_steps(resident, moved, c.name);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Tiers, Offloaded,
    ::testing::Values(OffloadCase{"optimizer_to_host", kHost, kDevice, kDevice, kDevice},
                      OffloadCase{"optimizer_to_file", kFile, kDevice, kDevice, kDevice},
                      OffloadCase{"gradients_to_host", kDevice, kHost, kDevice, kDevice},
                      OffloadCase{"gradients_to_file", kDevice, kFile, kDevice, kDevice},
                      OffloadCase{"parameters_to_host", kDevice, kDevice, kHost, kDevice},
                      OffloadCase{"parameters_to_file", kDevice, kDevice, kFile, kDevice},
                      OffloadCase{"activations_to_host", kDevice, kDevice, kDevice, kHost},
                      OffloadCase{"activations_to_file", kDevice, kDevice, kDevice, kFile},
                      OffloadCase{"all_to_host", kHost, kHost, kHost, kHost},
                      OffloadCase{"all_to_file", kFile, kFile, kFile, kFile},
                      OffloadCase{"optimizer_to_file_rest_to_host", kFile, kHost, kHost, kHost},
                      OffloadCase{"optimizer_to_host_rest_to_file", kHost, kFile, kFile, kFile}),
    [](const auto& test) { return test.param.name; });

// A stash in 8 bits moves in 8 bits.
TEST(OffloadedStash, In8BitsKeepsTheBits) {
  const cost::MachineDescription machine = cost::describe_here();
  for (const models::Architecture& model : {tiny_gpt2(), tiny_llama()}) {
    const std::vector<ir::Graph> graphs =
        step_graphs(model, passes::Recipe::bf16, passes::StashFormat::int8);
    const PlannedStep resident(graphs, machine);
    for (const Tier tier : {kHost, kFile}) {
      const PlannedStep moved(offloaded(graphs, moving(kDevice, kDevice, kDevice, tier), machine),
                              machine);
      int stored = 0;
      for (const ir::Node& node : moved.graphs()[0].nodes()) {
        const bool store = node.op == "store";
        const auto dtype = moved.graphs()[0].type(node.results[0]).dtype;
        stored += store && dtype == DType::int8 ? 1 : 0;
      }
      EXPECT_GT(stored, 10);
      expect_same_steps(resident, moved, model.kv_heads == 1 ? "llama" : "gpt2");
    }
  }
}

// An embedding of several tiles, the last one not whole. A parameter in bf16 is rounded at random:
// every tile draws what its elements draw in the whole.
TEST(OffloadedTiles, KeepTheBits) {
  models::Architecture model = tiny_gpt2();
  model.hidden = 64;
  model.head_dim = 32;
  model.vocabulary = 1100;
  const cost::MachineDescription machine = cost::describe_here();
  const passes::Precision precisions[] = {
      passes::Recipe::fp32, passes::Recipe::bf16, {passes::Recipe::bf16, DType::bf16}};
  for (const passes::Precision& precision : precisions) {
    const std::vector<ir::Graph> graphs = step_graphs(model, precision);
    const PlannedStep resident(graphs, machine);
    for (const auto& [optimizer, gradients, parameters] :
         {std::tuple(kFile, kDevice, kDevice), std::tuple(kDevice, kHost, kDevice),
          std::tuple(kHost, kFile, kDevice), std::tuple(kFile, kFile, kFile)}) {
      passes::OffloadOptions options = moving(optimizer, gradients, parameters, kDevice);
      options.tile = 4 * 32768;
      options.fetched_ahead = 1 << 19;
      const PlannedStep moved(offloaded(graphs, options, machine), machine);
      int tiles = 0;
      for (const plan::Instruction& i : moved.plan().program("update").instructions) {
        tiles += i.op == "adamw_update" && i.label == "embedding.weight" ? 1 : 0;
      }
      EXPECT_EQ(tiles, 3);
      expect_same_steps(resident, moved, fmt::format("{}", static_cast<int>(optimizer)));
    }
  }
}

TEST(OffloadedSubsets, KeepTheBits) {
  const cost::MachineDescription machine = cost::describe_here();
  const std::vector<ir::Graph> graphs = step_graphs(tiny_gpt2(), passes::Recipe::bf16);
  const PlannedStep resident(graphs, machine);
  for (std::uint32_t seed = 0; seed < 8 && !HasFailure(); ++seed) {
    const CounterRng rng(seed, 0, 0);
    const auto tier = [&](std::uint64_t i) { return static_cast<Tier>(rng.word(i) % 3); };
    passes::OffloadOptions options = moving(tier(0), tier(1), tier(2), tier(3));
    options.patience = rng.word(4) % 2 == 0 ? 0 : 1;
    options.fetched_ahead = rng.word(5) % 4096;
    options.stays = [seed](std::string_view name) { return seed_of(name, seed) % 3 == 0; };
    runtime::ExecutorOptions how;
    how.streams = rng.word(6) % 2 == 0 ? Streams::beside : Streams::in_order;
    const PlannedStep moved(offloaded(graphs, options, machine), machine, how);
    expect_same_steps(resident, moved, fmt::format("seed {}", seed));
  }
}

}  // namespace
}  // namespace bessemer::testing
