// Versions of Unicode. What a character is (a letter, a mark, nothing yet) differs between them,
// and the originals of our tokenizers have tables of several; ours are those of ICU and PCRE2, of
// whatever version is installed. So tables are asked through stand-ins: what a version does not
// know yet is looked up as a character that will never be assigned, and what only that version
// knows as an older character that is like it. What is older than Unicode 15 has not changed since,
// but for two characters that have stand-ins too.
//
// Needs ICU with Unicode 14 or later, and PCRE2 likewise.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bessemer::data {

/// Ten times the version: 151 is 15.1.
using UnicodeVersion = int;

// Of what the originals have (tokenizers 0.23, tiktoken 0.14):
inline constexpr UnicodeVersion kUnicodeOfPatterns = 160;  // Oniguruma 6.9.10, Rust's `regex` 1.13
inline constexpr UnicodeVersion kUnicodeOfRust = 170;      // numbers, lower case, grapheme clusters
inline constexpr UnicodeVersion kUnicodeOfForms = 90;      // normalization forms, marks
inline constexpr UnicodeVersion kUnicodeOfPunctuation = 80;  // the Punctuation pre-tokenizer

/// The version of ICU's tables.
UnicodeVersion unicode_of_icu();

/// The version that a character came with, as ICU knows it; 0: not assigned.
UnicodeVersion age_of(char32_t rune);

class StandIns {
 public:
  /// For tables of the version `tables`, to answer as those of `wanted`.
  static const StandIns& of(UnicodeVersion wanted, UnicodeVersion tables);

  /// What to look `rune` up as: itself, most often. Its UTF-8 is as long.
  char32_t operator()(char32_t rune) const;

  /// `text`, valid UTF-8, with all characters so; in `buffer` if it is another text at all.
  std::string_view replace(std::string_view text, std::string& buffer) const;

 private:
  StandIns(UnicodeVersion wanted, UnicodeVersion tables);

  UnicodeVersion wanted_;
  std::vector<bool> has_one_;  // by code point
};

/// Characters first ... last came with `version` (140: they are older, and their category changed).
/// All of them are like `like`; of lower cases, `like` is the first one's, `like + 1` the next
/// one's.
struct Younger {
  char32_t first, last;
  UnicodeVersion version;
  char32_t like;
};
struct RuneRange {
  char32_t first, last;
};

// Tables, up to Unicode 17 (unicode_younger.cpp, made by tools/make_unicode_table).
std::span<const Younger> younger_characters();
std::span<const Younger> younger_lower_cases();
std::span<const RuneRange> conjunct_consonants();  // property Indic_Conjunct_Break
std::span<const RuneRange> conjunct_linkers();

/// The entry of `rune` in such a table; null: none.
template <typename Range>
const Range* find_range(std::span<const Range> table, char32_t rune) {
  const auto behind =
      std::upper_bound(table.begin(), table.end(), rune,
                       [](char32_t value, const Range& range) { return value < range.first; });
  if (behind == table.begin() || (behind - 1)->last < rune) return nullptr;
  return &*(behind - 1);
}

}  // namespace bessemer::data
