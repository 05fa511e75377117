#include "data/unicode_class.h"

#include <string>

#include "data/regex.h"

namespace bessemer::data {
namespace {

constexpr std::size_t kCodePoints = 0x110000;

/// Planes 0 to 3 and 14 hold every assigned character that is not private use.
bool can_have_a_property(char32_t rune) {
  const char32_t plane = rune >> 16;
  return (plane < 4 || plane == 14) && (rune < 0xD800 || rune > 0xDFFF);
}

template <typename Mark>
void each_match(std::string_view text, const std::string& pattern, const Mark& mark) {
  const Regex regex(pattern);
  Regex::Matcher matcher(regex);
  std::size_t from = 0;
  while (const auto match = matcher.find(text, from)) {
    const auto* p = reinterpret_cast<const unsigned char*>(text.data()) + match->first;
    const auto* const end = reinterpret_cast<const unsigned char*>(text.data()) + match->second;
    while (p < end) {
      char32_t rune = 0;
      p += decode_utf8(p, end, rune);
      mark(rune);
    }
    from = match->second;
  }
}

}  // namespace

UnicodeClasses::UnicodeClasses()
    : table_(kCodePoints, RuneClass::other), words_(kCodePoints, false) {
  std::string all;
  for (char32_t rune = 0; rune < kCodePoints; ++rune) {
    if (can_have_a_property(rune)) append_utf8(all, rune);
  }
  const auto mark = [&](const std::string& pattern, RuneClass kind) {
    each_match(all, pattern, [&](char32_t rune) { table_[rune] = kind; });
  };
  mark(R"(\p{L}+)", RuneClass::letter);
  mark(R"(\p{N}+)", RuneClass::number);
  mark(R"(\s+)", RuneClass::space);
  const std::string words = "[\\x{200c}\\x{200d}" + std::string(kWordCharacters) + "]+";
  each_match(all, words, [&](char32_t rune) { words_[rune] = true; });
}

const UnicodeClasses& UnicodeClasses::instance() {
  static const UnicodeClasses classes;
  return classes;
}

}  // namespace bessemer::data
