#include "plan/timeline.h"

#include <algorithm>
#include <numeric>

#include "base/arena.h"
#include "base/error.h"

namespace bessemer::plan {
namespace {

using Bytes = decltype(Moment::bytes);

std::size_t place_of(std::string_view category) {
  const auto at = std::find(kTimelineCategories.begin(), kTimelineCategories.end(), category);
  require(at != kTimelineCategories.end(), "no account \"{}\" on the timeline", category);
  return static_cast<std::size_t>(at - kTimelineCategories.begin());
}

// What is there at every moment.
Bytes standing_bytes(const Plan& plan) {
  Bytes bytes{};
  for (const CatalogEntry& entry : plan.catalog) {
    if (entry.tier != ir::Tier::device) continue;
    bytes[place_of(category_of(entry.role))] += align_up(entry.type.bytes());
  }
  bytes[place_of(category_of(ir::Role::data))] = plan.data_bytes;
  return bytes;
}

// Bytes of the transients by moment of the program's clock: sums of what begins less what ended.
std::vector<Bytes> transient_bytes(const Program& program) {
  int last = 0;
  for (const TransientBuffer& buffer : program.transients) last = std::max(last, buffer.last);
  for (const Instruction& i : program.instructions) last = std::max(last, i.moment);
  std::vector<Bytes> alive(static_cast<std::size_t>(last) + 2, Bytes{});
  for (const TransientBuffer& buffer : program.transients) {
    if (buffer.tier != ir::Tier::device) continue;
    const std::size_t account = place_of(category_of(buffer.kind));
    alive[static_cast<std::size_t>(buffer.first)][account] += align_up(buffer.bytes);
    alive[static_cast<std::size_t>(buffer.last) + 1][account] -= align_up(buffer.bytes);
  }
  for (std::size_t t = 1; t < alive.size(); ++t) {
    for (std::size_t c = 0; c < alive[t].size(); ++c) alive[t][c] += alive[t - 1][c];
  }
  return alive;
}

std::vector<const Program*> programs_of_a_step(const Plan& plan) {
  std::vector<const Program*> programs;
  for (const char* name :
       {"refresh", "accumulate_first", "accumulate", "accumulate_last", "update", "refresh_rest"}) {
    if (const Program* program = plan.find(name)) programs.push_back(program);
  }
  if (plan.find("update") != nullptr) return programs;
  programs.clear();
  for (const Program& program : plan.programs) programs.push_back(&program);
  return programs;
}

}  // namespace

std::size_t Moment::sum() const {
  return std::accumulate(bytes.begin(), bytes.end(), std::size_t{0});
}

std::vector<Moment> memory_timeline(const Plan& plan) {
  const Bytes standing = standing_bytes(plan);
  std::vector<Moment> timeline;
  for (const Program* program : programs_of_a_step(plan)) {
    const std::vector<Bytes> alive = transient_bytes(*program);
    for (std::size_t i = 0; i < program->instructions.size(); ++i) {
      const Instruction& instruction = program->instructions[i];
      Moment moment{program->name, i, instruction.op + " " + instruction.label, standing};
      const Bytes& transient = alive[static_cast<std::size_t>(instruction.moment)];
      for (std::size_t c = 0; c < transient.size(); ++c) moment.bytes[c] += transient[c];
      timeline.push_back(std::move(moment));
    }
  }
  return timeline;
}

std::size_t peak_of(const std::vector<Moment>& timeline) {
  require(!timeline.empty(), "a timeline without a moment has no peak");
  const auto at =
      std::max_element(timeline.begin(), timeline.end(),
                       [](const Moment& a, const Moment& b) { return a.sum() < b.sum(); });
  return static_cast<std::size_t>(at - timeline.begin());
}

}  // namespace bessemer::plan
