#include <algorithm>

#include "base/arena.h"
#include "plan/plan.h"

namespace bessemer::plan {
namespace {

const Program* largest(const Plan& plan) {
  const auto at = std::max_element(
      plan.programs.begin(), plan.programs.end(),
      [](const Program& a, const Program& b) { return a.transient_bytes < b.transient_bytes; });
  return at == plan.programs.end() ? nullptr : &*at;
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
    case TransientBuffer::Kind::transient:
    case TransientBuffer::Kind::result: return "transients";
  }
  return "transients";
}

std::vector<LedgerEntry> ledger(const Plan& plan) {
  std::vector<LedgerEntry> entries;
  std::size_t named = 0;
  const auto add = [&](std::string_view category, std::string name, std::size_t bytes) {
    if (bytes == 0) return;
    named += bytes;
    entries.push_back({std::string(category), std::move(name), bytes});
  };
  for (const CatalogEntry& entry : plan.catalog) {
    add(category_of(entry.role), entry.name, align_up(entry.type.bytes()));
  }
  add("data", "batches and scalars", plan.data_bytes);
  if (const Program* program = largest(plan)) {
    for (const TransientBuffer& buffer : program->transients) {
      if (buffer.first <= program->live_peak_at && program->live_peak_at <= buffer.last) {
        add(category_of(buffer.kind), buffer.name, align_up(buffer.bytes));
      }
    }
  }
  add("unused", "gaps that the offsets leave", plan.arena_bytes - named);
  return entries;
}

}  // namespace bessemer::plan
