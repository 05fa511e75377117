// Quality and time of the offset assignment for 50,000 values: bytes over the lower bound, and
// seconds of this process, for sets shaped like training steps and for sets without any shape.
#include <algorithm>
#include <cstdint>

#include <benchmark/benchmark.h>

#include "base/rng.h"
#include "plan/assign.h"

namespace {

using bessemer::CounterRng;
using bessemer::plan::Block;

constexpr int kValues = 50'000;

class Draw {
 public:
  explicit Draw(std::uint32_t kind) : rng_(0, kind, 0) {}
  int below(int n) { return static_cast<int>(rng_.word(next_++) % static_cast<std::uint32_t>(n)); }

 private:
  CounterRng rng_;
  std::uint64_t next_ = 0;
};

// Of every three values two are kept from forward to backward; half of all have scratch beside
// them.
std::vector<Block> training_step() {
  Draw draw(1);
  constexpr int kForward = kValues * 2 / 5;
  constexpr int kLast = 2 * kForward;
  std::vector<Block> blocks;
  const auto any_size = [&] {
    return static_cast<std::size_t>(1 + draw.below(64)) << (10 + draw.below(10));
  };
  for (int t = 0; t < kForward; ++t) {
    const bool kept = draw.below(3) > 0;
    blocks.push_back({any_size(), t, kept ? kLast - t : t + 1 + draw.below(4)});
    blocks.push_back({any_size(), kLast - t, std::min(kLast, kLast - t + 1 + draw.below(4))});
    if (draw.below(2) == 0) blocks.push_back({any_size(), t, t});
  }
  return blocks;
}

// Lives of a few instructions, and a quarter of up to all `instructions`.
std::vector<Block> random_set(int instructions) {
  Draw draw(2);
  std::vector<Block> blocks(kValues);
  for (Block& block : blocks) {
    block.bytes = static_cast<std::size_t>(1 + draw.below(1000)) << draw.below(8);
    block.first = draw.below(instructions);
    const int longest = draw.below(4) == 0 ? instructions : 6;
    block.last = std::min(instructions - 1, block.first + draw.below(longest));
  }
  return blocks;
}

void assign(benchmark::State& state, std::vector<Block> blocks) {
  std::size_t needed = 0;
  for (auto _ : state) needed = bessemer::plan::assign_offsets(blocks);
  int instructions = 0;
  for (const Block& block : blocks) instructions = std::max(instructions, block.last + 1);
  const std::size_t bound = bessemer::plan::live_peak(blocks, instructions).bytes;
  state.counters["values"] = static_cast<double>(blocks.size());
  state.counters["over_bound_percent"] =
      100 * (static_cast<double>(needed) / static_cast<double>(bound) - 1);
}

BENCHMARK_CAPTURE(assign, training_step, training_step())->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(assign, random_1000_instructions, random_set(1000))
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(assign, random_50000_instructions, random_set(50'000))
    ->Unit(benchmark::kMillisecond);

}  // namespace
