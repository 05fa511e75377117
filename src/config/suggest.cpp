#include "config/suggest.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "config/field.h"

namespace bessemer::config {
namespace {

/// A third of the letters may be wrong, and one of a short word.
std::size_t tolerance(std::string_view key) { return std::max<std::size_t>(1, key.size() / 3); }

struct Nearest {
  const Field<RunConfig>* field = nullptr;
  std::string spelling;
  std::size_t distance = 0;
};

template <typename Accept>
Nearest nearest_field(std::string_view key, Accept accept) {
  Nearest best{nullptr, {}, tolerance(key) + 1};
  for (const auto& field : run_fields()) {
    if (!accept(field)) continue;
    for (const std::string& spelling : {field.key, field.alias}) {
      if (spelling.empty()) continue;
      const std::size_t distance = edit_distance(key, spelling);
      if (distance < best.distance) best = {&field, spelling, distance};
    }
  }
  return best;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  constexpr std::size_t kMost = 64;  // no key is as long; and the work stays bounded
  if (a.size() > kMost || b.size() > kMost) return kMost;
  std::vector<std::size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

Suggestion suggest_key(std::string_view section, std::string_view key) {
  const auto elsewhere = nearest_field(key, [&](const auto& f) { return f.section != section; });
  const auto here = nearest_field(key, [&](const auto& f) { return f.section == section; });
  if (elsewhere.field && elsewhere.distance == 0)
    return {fmt::format("{} belongs in [{}]", key, elsewhere.field->section),
            elsewhere.field->name()};
  if (here.field && (!elsewhere.field || here.distance <= elsewhere.distance))
    return {fmt::format("did you mean {}?", here.spelling), here.field->name()};
  if (elsewhere.field)
    return {fmt::format("did you mean {}? It belongs in [{}]", elsewhere.spelling,
                        elsewhere.field->section),
            elsewhere.field->name()};
  return {};
}

Suggestion suggest_section(std::string_view section) {
  std::string best;
  std::size_t distance = tolerance(section) + 1;
  for (const std::string& name : section_names()) {
    const std::size_t d = edit_distance(section, name);
    if (d < distance) {
      best = name;
      distance = d;
    }
  }
  if (!best.empty()) return {fmt::format("did you mean [{}]?", best), {}};
  return suggest_key("", section);
}

Suggestion suggest_source_key(std::string_view key) {
  for (const auto& field : source_fields())
    if (edit_distance(key, field.key) <= tolerance(key))
      return {fmt::format("did you mean {}?", field.key), {}};
  return {"a source has name, path and weight", {}};
}

}  // namespace bessemer::config
