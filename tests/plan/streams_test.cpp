// Which instructions wait for which, and what the timeline makes of it.
#include "plan/streams.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace bessemer::plan {
namespace {

constexpr Stream kCompute = Stream::compute, kFetch = Stream::fetch, kStore = Stream::store;

Instruction on(Stream stream, double seconds = 1) {
  Instruction i;
  i.stream = stream;
  i.seconds = seconds;
  return i;
}

Access reads(std::size_t begin, std::size_t end, ir::Tier tier = ir::Tier::device) {
  return {tier, begin, end, false};
}
Access writes(std::size_t begin, std::size_t end, ir::Tier tier = ir::Tier::device) {
  return {tier, begin, end, true};
}

std::string waits_of(const Instruction& instruction) {
  std::string text;
  for (const Wait& wait : instruction.waits) {
    text += (text.empty() ? "" : " ") + std::string(name_of(wait.stream)) + ":" +
            std::to_string(wait.count);
  }
  return text;
}

TEST(Waits, AreForWhatIsTouchedAndReplaced) {
  std::vector<Instruction> program{on(kFetch),   on(kFetch),   on(kCompute), on(kStore),
                                   on(kCompute), on(kCompute), on(kFetch)};
  set_waits(program, {{reads(0, 8, ir::Tier::host), writes(0, 8)},
                      {reads(8, 16, ir::Tier::host), writes(8, 16)},
                      {reads(0, 8), writes(16, 24)},                  // uses the first fetch
                      {reads(16, 24), writes(0, 8, ir::Tier::host)},  // stores its result
                      {reads(8, 16), writes(24, 32)},                 // uses the second fetch
                      {reads(24, 32), writes(16, 24)},                // replaces what is stored
                      {reads(0, 8, ir::Tier::host), writes(0, 8)}});  // fetches what was stored
  EXPECT_EQ(waits_of(program[0]), "");
  EXPECT_EQ(waits_of(program[1]), "");
  EXPECT_EQ(waits_of(program[2]), "fetch:1");
  EXPECT_EQ(waits_of(program[3]), "compute:1 fetch:1");
  EXPECT_EQ(waits_of(program[4]), "fetch:2");
  EXPECT_EQ(waits_of(program[5]), "store:1");
  EXPECT_EQ(waits_of(program[6]), "compute:1 store:1");
}

TEST(Waits, AreNotRepeated) {
  std::vector<Instruction> program{on(kFetch), on(kCompute), on(kCompute)};
  set_waits(program, {{writes(0, 8)}, {reads(0, 8)}, {reads(0, 8)}});
  EXPECT_EQ(waits_of(program[1]), "fetch:1");
  EXPECT_EQ(waits_of(program[2]), "");
}

TEST(Timeline, OverlapsStreamsAndWaits) {
  std::vector<Instruction> program{on(kFetch, 2), on(kCompute, 3), on(kFetch, 4), on(kCompute, 1)};
  set_waits(program, {{writes(0, 8)}, {reads(0, 8)}, {writes(8, 16)}, {reads(8, 16)}});
  const std::vector<Span> spans = timeline(program);
  EXPECT_EQ(spans[1].start, 2);
  EXPECT_EQ(spans[2].start, 2);
  EXPECT_EQ(spans[3].start, 6);
  EXPECT_EQ(spans[3].end, 7);
}

// Whatever the program, two conflicting instructions never overlap and keep their order.
TEST(Waits, KeepConflictsInOrder) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    const CounterRng rng(seed, 0, 0);
    std::uint64_t next = 0;
    const auto below = [&](std::uint32_t n) { return rng.word(next++) % n; };
    std::vector<Instruction> program;
    std::vector<std::vector<Access>> accesses;
    for (int i = 0; i < 40; ++i) {
      program.push_back(on(static_cast<Stream>(below(3)), 1 + below(5)));
      accesses.emplace_back();
      for (int a = 0; a < 2; ++a) {
        const std::size_t begin = 8 * below(12);
        accesses.back().push_back(
            {static_cast<ir::Tier>(below(2)), begin, begin + 8 + 8 * below(2), below(2) == 0});
      }
    }
    set_waits(program, accesses);
    const std::vector<Span> spans = timeline(program);
    for (std::size_t j = 0; j < program.size(); ++j) {
      for (std::size_t i = 0; i < j; ++i) {
        for (const Access& x : accesses[i]) {
          for (const Access& y : accesses[j]) {
            const bool meet = x.tier == y.tier && x.begin < y.end && y.begin < x.end;
            if (meet && (x.writes || y.writes)) {
              EXPECT_LE(spans[i].end, spans[j].start) << seed << ": " << i << " and " << j;
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace bessemer::plan
