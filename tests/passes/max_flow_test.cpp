// The flow against a minimum over all cuts, on random networks.
#include <algorithm>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"
#include "passes/max_flow.h"

namespace bessemer::passes {
namespace {

struct Edge {
  int from, to;
  std::int64_t capacity;
};

std::int64_t cut_value(const std::vector<Edge>& edges, const std::vector<bool>& side) {
  std::int64_t sum = 0;
  for (const Edge& e : edges) {
    if (side[static_cast<std::size_t>(e.from)] && !side[static_cast<std::size_t>(e.to)]) {
      sum += e.capacity;
    }
  }
  return sum;
}

TEST(MaxFlow, EqualsTheSmallestOfAllCuts) {
  constexpr int kVertices = 7;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const CounterRng rng(seed, 0, 0);
    std::vector<Edge> edges;
    FlowNetwork network(kVertices);
    for (std::uint64_t i = 0; i < 16; ++i) {
      const Edge e{static_cast<int>(rng.word(3 * i) % kVertices),
                   static_cast<int>(rng.word(3 * i + 1) % kVertices),
                   static_cast<std::int64_t>(rng.word(3 * i + 2) % 20)};
      edges.push_back(e);
      network.add_edge(e.from, e.to, e.capacity);
    }
    std::int64_t smallest = FlowNetwork::kUnlimited;
    std::size_t fewest = kVertices;  // vertices at the source, over all minimum cuts
    for (unsigned subset = 0; subset < 1u << kVertices; ++subset) {
      std::vector<bool> side(kVertices);
      std::size_t count = 0;
      for (std::size_t v = 0; v < kVertices; ++v) {
        side[v] = subset >> v & 1;
        count += side[v] ? 1 : 0;
      }
      if (!side[0] || side[1]) continue;
      const std::int64_t value = cut_value(edges, side);
      if (value > smallest) continue;
      fewest = value < smallest ? count : std::min(fewest, count);
      smallest = value;
    }
    EXPECT_EQ(network.maximum_flow(0, 1), smallest) << seed;
    const std::vector<bool> side = network.source_side(0);
    EXPECT_EQ(cut_value(edges, side), smallest) << seed;
    EXPECT_EQ(static_cast<std::size_t>(std::count(side.begin(), side.end(), true)), fewest) << seed;
  }
}

TEST(MaxFlow, RefusesWhatHasNoLimit) {
  FlowNetwork network(2);
  EXPECT_THROW(network.add_edge(0, 1, -1), Error);
  network.add_edge(0, 1, FlowNetwork::kUnlimited);
  EXPECT_THROW(network.maximum_flow(0, 1), Error);
}

}  // namespace
}  // namespace bessemer::passes
