#include "plan/streams.h"

#include <algorithm>
#include <array>

namespace bessemer::plan {
namespace {

std::size_t index_of(Stream stream) { return static_cast<std::size_t>(stream); }

bool conflict(const std::vector<Access>& a, const std::vector<Access>& b) {
  for (const Access& x : a) {
    for (const Access& y : b) {
      const bool meet = x.tier == y.tier && x.begin < y.end && y.begin < x.end;
      if (meet && (x.writes || y.writes)) return true;
    }
  }
  return false;
}

}  // namespace

std::string_view name_of(Stream stream) {
  constexpr std::array<std::string_view, kStreams> kNames{"compute", "fetch", "store"};
  return kNames[index_of(stream)];
}

void set_waits(std::vector<Instruction>& instructions,
               const std::vector<std::vector<Access>>& accesses) {
  std::array<std::vector<std::size_t>, kStreams> issued;  // by stream, in order
  // How many of each stream's instructions are done when a stream's last one so far starts.
  std::array<std::array<std::size_t, kStreams>, kStreams> known{};
  for (std::size_t i = 0; i < instructions.size(); ++i) {
    const std::size_t own = index_of(instructions[i].stream);
    for (std::size_t other = 0; other < kStreams; ++other) {
      if (other == own) continue;
      std::size_t count = issued[other].size();
      while (count > known[own][other] &&
             !conflict(accesses[i], accesses[issued[other][count - 1]])) {
        --count;
      }
      if (count == known[own][other]) continue;
      known[own][other] = count;
      instructions[i].waits.push_back(
          {static_cast<Stream>(other), static_cast<std::uint32_t>(count)});
    }
    issued[own].push_back(i);
  }
}

std::vector<Span> timeline(const std::vector<Instruction>& instructions) {
  std::array<double, kStreams> now{};
  std::array<std::vector<double>, kStreams> done;
  std::vector<Span> spans;
  spans.reserve(instructions.size());
  for (const Instruction& instruction : instructions) {
    const std::size_t own = index_of(instruction.stream);
    double start = now[own];
    for (const Wait& wait : instruction.waits) {
      start = std::max(start, done[index_of(wait.stream)][wait.count - 1]);
    }
    now[own] = start + instruction.seconds;
    done[own].push_back(now[own]);
    spans.push_back({start, now[own]});
  }
  return spans;
}

}  // namespace bessemer::plan
