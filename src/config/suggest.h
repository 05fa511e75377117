// What an unknown name in a run file was probably meant to be.
#pragma once

#include <string>
#include <string_view>

namespace bessemer::config {

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b` (optimal
/// string alignment).
std::size_t edit_distance(std::string_view a, std::string_view b);

struct Suggestion {
  std::string text;  // "did you mean steps?"; empty where nothing is near
  std::string name;  // the key it speaks of, "train.steps"; empty likewise
};

/// For key `key` that [section] has not: a near key of the section, or a key of another section by
/// that name or near it.
Suggestion suggest_key(std::string_view section, std::string_view key);

/// For a section that is not, or a key outside any section.
Suggestion suggest_section(std::string_view section);

/// For an unknown key of a [[data.source]].
Suggestion suggest_source_key(std::string_view key);

}  // namespace bessemer::config
