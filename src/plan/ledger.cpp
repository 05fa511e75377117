#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/arena.h"
#include "plan/plan.h"

namespace bessemer::plan {
namespace {

// A tier's transients in one program.
LowerTransients transients_of(const Program& program, ir::Tier tier) {
  switch (tier) {
    case ir::Tier::device: break;
    case ir::Tier::host: return program.host;
    case ir::Tier::file: return program.file;
  }
  return {program.transient_bytes, program.live_peak_bytes, program.live_peak_at};
}

const Program* largest(const Plan& plan, ir::Tier tier) {
  const auto at = std::max_element(
      plan.programs.begin(), plan.programs.end(), [&](const Program& a, const Program& b) {
        return transients_of(a, tier).bytes < transients_of(b, tier).bytes;
      });
  return at == plan.programs.end() ? nullptr : &*at;
}

// The entries of one tier, which sum to its arena.
void add_tier(const Plan& plan, ir::Tier tier, std::vector<LedgerEntry>& entries) {
  std::size_t named = 0;
  const std::size_t alignment = tier == ir::Tier::file ? kFileAlignment : Arena::kAlignment;
  const auto add = [&](std::string_view category, std::string name, std::size_t bytes) {
    if (bytes == 0) return;
    named += bytes;
    entries.push_back({std::string(category), std::move(name), bytes, tier});
  };
  for (const CatalogEntry& entry : plan.catalog) {
    if (entry.tier != tier) continue;
    add(category_of(entry.role), entry.name, align_up(entry.type.bytes(), alignment));
  }
  if (tier == ir::Tier::device) {
    const std::size_t before = named;
    std::set<std::size_t> places;  // programs share inputs of one name and type
    for (const Program& program : plan.programs) {
      for (const Port& port : program.data) {
        if (places.insert(port.offset).second) {
          add("data", fmt::format("{} of {}", port.name, program.name),
              align_up(port.type.bytes()));
        }
      }
    }
    add("data", "alignment of what follows", plan.data_bytes - (named - before));
  }
  if (const Program* program = largest(plan, tier)) {
    const int at = transients_of(*program, tier).live_peak_at;
    for (const TransientBuffer& buffer : program->transients) {
      if (buffer.tier == tier && buffer.first <= at && at <= buffer.last) {
        add(category_of(buffer.kind), buffer.name, align_up(buffer.bytes));
      }
    }
  }
  add("unused", "gaps that the offsets leave", plan.bytes(tier) - named);
}

}  // namespace

std::string_view category_of(ir::Role role) {
  switch (role) {
    case ir::Role::parameter: return "parameters";
    case ir::Role::gradient: return "gradients";
    case ir::Role::optimizer: return "optimizer";
    case ir::Role::weight: return "weights";
    case ir::Role::cache: return "cache";
    case ir::Role::data: return "data";
  }
  return "data";
}

std::string_view category_of(TransientBuffer::Kind kind) {
  switch (kind) {
    case TransientBuffer::Kind::stash: return "stash";
    case TransientBuffer::Kind::scratch: return "scratch";
    case TransientBuffer::Kind::moving: return "communication";
    case TransientBuffer::Kind::transient:
    case TransientBuffer::Kind::result: return "transients";
  }
  return "transients";
}

std::vector<LedgerEntry> ledger(const Plan& plan) {
  std::vector<LedgerEntry> entries;
  for (const ir::Tier tier : {ir::Tier::device, ir::Tier::host, ir::Tier::file}) {
    add_tier(plan, tier, entries);
  }
  return entries;
}

}  // namespace bessemer::plan
