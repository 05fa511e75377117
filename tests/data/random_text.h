// Texts for property tests: reproducible, and thick with what pre-tokenisers trip over.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/rng.h"

namespace bessemer::data {

inline std::string random_bytes(std::uint64_t seed, std::size_t n) {
  const CounterRng rng(seed, 0, 1);
  std::string text(n, '\0');
  for (std::size_t i = 0; i < n; ++i) text[i] = static_cast<char>(rng.word(i));
  return text;
}

/// `n` fragments: letters, digits, contractions, white space of all kinds, several scripts, emoji,
/// NUL, and bytes that are not UTF-8 where `invalid`.
inline std::string random_fragments(std::uint64_t seed, std::size_t n, bool invalid) {
  using std::string_view_literals::operator""sv;
  static constexpr std::array kFragments{" "sv,
                                         " "sv,
                                         " "sv,
                                         "  "sv,
                                         "\n"sv,
                                         "\r\n"sv,
                                         "\t"sv,
                                         "\v"sv,
                                         "\u00a0"sv,
                                         "\u3000"sv,
                                         "\u180e"sv,
                                         "\u2028"sv,
                                         "\u0085"sv,
                                         "a"sv,
                                         "word"sv,
                                         "Z"sv,
                                         "'s"sv,
                                         "'LL"sv,
                                         "'Re"sv,
                                         "'"sv,
                                         "'\u017f"sv,
                                         "'v"sv,
                                         "'r"sv,
                                         "1"sv,
                                         "23"sv,
                                         "4567"sv,
                                         "\u0663"sv,
                                         "\u00bd"sv,
                                         "."sv,
                                         "!?"sv,
                                         "=="sv,
                                         "_"sv,
                                         "\u00e9"sv,
                                         "e\u0301"sv,
                                         "\u041f\u0440"sv,
                                         "\u65e5\u672c"sv,
                                         "\u05e9"sv,
                                         "\U0001f600"sv,
                                         "\u200d"sv,
                                         "\ufeff"sv,
                                         "\0"sv,
                                         "\x7f"sv,
                                         "\U0001d7d8"sv,
                                         "\u02b0"sv,
                                         "\xff"sv,
                                         "\xc3"sv,
                                         "\xe2\x82"sv,
                                         "\xed\xa0\x80"sv,
                                         "\xc0\x80"sv,
                                         "\xf5"sv};
  constexpr std::size_t kInvalid = 6;
  const CounterRng rng(seed, 0, 2);
  const std::size_t count = kFragments.size() - (invalid ? 0 : kInvalid);
  std::string text;
  for (std::size_t i = 0; i < n; ++i) text += kFragments[rng.word(i) % count];
  return text;
}

}  // namespace bessemer::data
