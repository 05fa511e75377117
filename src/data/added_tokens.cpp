#include "data/added_tokens.h"

#include <algorithm>

#include "data/unicode_class.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

/// The character that ends at the end of `text`, with its length; 0: none.
int last_rune(std::string_view text, char32_t& rune) {
  const unsigned char* const end = bytes_of(text) + text.size();
  for (int length = 1; length <= 4 && static_cast<std::size_t>(length) <= text.size(); ++length) {
    if (decode_utf8(end - length, end, rune) == length) return length;
  }
  return 0;
}

int first_rune(std::string_view text, char32_t& rune) {
  return text.empty() ? 0 : decode_utf8(bytes_of(text), bytes_of(text) + text.size(), rune);
}

bool is_space(char32_t rune) { return UnicodeClasses::instance().of(rune) == RuneClass::space; }

bool is_word(char32_t rune) { return UnicodeClasses::instance().is_word(rune); }

std::size_t trailing_spaces(std::string_view text) {
  std::size_t n = 0;
  char32_t rune = 0;
  for (int length; (length = last_rune(text, rune)) > 0 && is_space(rune);) {
    text.remove_suffix(static_cast<std::size_t>(length));
    n += static_cast<std::size_t>(length);
  }
  return n;
}

std::size_t leading_spaces(std::string_view text) {
  std::size_t n = 0;
  char32_t rune = 0;
  for (int length; (length = first_rune(text, rune)) > 0 && is_space(rune);) {
    text.remove_prefix(static_cast<std::size_t>(length));
    n += static_cast<std::size_t>(length);
  }
  return n;
}

}  // namespace

bool AddedTokenSet::insert(const AddedToken& token, std::string_view content) {
  if (!literals_.insert(content, static_cast<std::int32_t>(tokens_.size()))) return false;
  tokens_.push_back(token);
  return true;
}

std::int32_t AddedTokenSet::find(std::string_view content) const {
  const std::int32_t place = literals_.value_of(content);
  return place < 0 ? -1 : tokens_[static_cast<std::size_t>(place)].id;
}

/// Applies what `token` asks of its surroundings to its place; false where it does not hold.
bool AddedTokenSet::widen(const AddedToken& token, std::string_view text, std::size_t given,
                          Part& part) const {
  char32_t rune = 0;
  if (token.single_word) {
    if (last_rune(text.substr(0, part.begin), rune) > 0 && is_word(rune)) return false;
    if (first_rune(text.substr(part.end), rune) > 0 && is_word(rune)) return false;
  }
  if (token.strip_left) {
    // White space that the token in front took stays there.
    const std::size_t begin = part.begin - trailing_spaces(text.substr(0, part.begin));
    part.begin = std::max(begin, given);
  }
  if (token.strip_right) part.end += leading_spaces(text.substr(part.end));
  return true;
}

void AddedTokenSet::split(std::string_view text, std::vector<Part>& parts) const {
  std::size_t given = 0;  // of the text
  LiteralSet::Match match;
  for (std::size_t at = 0; (at = literals_.find(text, at, match)) < text.size();
       at += match.length) {
    const AddedToken& token = tokens_[static_cast<std::size_t>(match.value)];
    Part part{at, at + match.length, token.id};
    if (!widen(token, text, given, part)) continue;
    if (part.begin > given) parts.push_back({given, part.begin, -1});
    parts.push_back(part);
    given = part.end;
  }
  if (given < text.size()) parts.push_back({given, text.size(), -1});
}

}  // namespace bessemer::data
