#include "plan/exchange.h"

#include <iterator>

namespace bessemer::plan {

Exchanged::Exchanged(const Plan& plan) {
  const auto move = [&](std::size_t from, std::size_t to) {
    const CatalogEntry& entry = plan.catalog[from];
    moved_[ir::index_of(entry.tier)][entry.offset] = {entry.offset + entry.type.bytes(),
                                                      plan.catalog[to].offset};
    entries_[from] = to;
  };
  for (const Exchange& pair : plan.exchanges) {
    move(pair.first, pair.second);
    move(pair.second, pair.first);
  }
}

std::size_t Exchanged::offset(const Place& place) const {
  const auto& moved = moved_[ir::index_of(place.tier)];
  const auto after = moved.upper_bound(place.offset);
  if (after == moved.begin()) return place.offset;
  const auto& [begin, tensor] = *std::prev(after);
  return place.offset < tensor.end ? tensor.to + (place.offset - begin) : place.offset;
}

std::size_t Exchanged::entry(std::size_t index) const {
  const auto at = entries_.find(index);
  return at == entries_.end() ? index : at->second;
}

}  // namespace bessemer::plan
