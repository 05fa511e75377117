// The three Unicode properties that the pre-tokeniser patterns ask about.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "data/utf8.h"

namespace bessemer::data {

/// `invalid` is a byte that belongs to no well-formed UTF-8 sequence.
enum class RuneClass : std::uint8_t { other, letter, number, space, invalid };

/// The members of \s as Python, Rust and Oniguruma have it (property White_Space), written as the
/// inside of a PCRE2 character class. PCRE2's own \s has U+180E too, which lost that property in
/// Unicode 6.3.
inline constexpr std::string_view kWhiteSpace =
    R"(\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

/// The members of \w that Rust's `regex` and Oniguruma both have: what is alphabetic (letters,
/// letter numbers and circled letters), marks, decimal digits and connectors. PCRE2's own is
/// narrower.
inline constexpr std::string_view kWordCharacters =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

struct Rune {
  int length;  // bytes
  RuneClass kind;
};

class UnicodeClasses {
 public:
  /// The table, of kUnicodeOfPatterns, made on first use.
  static const UnicodeClasses& instance();

  RuneClass of(char32_t rune) const { return table_[rune]; }

  /// Whether \w matches: one of kWordCharacters or, as Rust's `regex` has it, a zero-width joiner
  /// or non-joiner.
  bool is_word(char32_t rune) const { return words_[rune]; }

  /// The rune at `p`; one byte of class `invalid` where the bytes are not UTF-8. Needs p < end.
  Rune at(const unsigned char* p, const unsigned char* end) const {
    if (*p < 0x80) return {1, table_[*p]};
    char32_t rune = 0;
    const int length = decode_utf8(p, end, rune);
    if (length == 0) return {1, RuneClass::invalid};
    return {length, table_[rune]};
  }

 private:
  UnicodeClasses();
  std::vector<RuneClass> table_;  // by code point
  std::vector<bool> words_;       // by code point
};

}  // namespace bessemer::data
