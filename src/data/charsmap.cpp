#include "data/charsmap.h"

#include <cstring>

#include "base/error.h"
#include "data/graphemes.h"
#include "data/unicode_form.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

// A unit of darts-clone: label in bits 0-7, "a leaf follows" in 8, the offset in 10-30 (by 256 more
// where bit 9 is set); a leaf has bit 31 and its value in the rest.
bool has_leaf(std::uint32_t unit) { return (unit >> 8 & 1) != 0; }
std::uint32_t value_of(std::uint32_t unit) { return unit & 0x7FFFFFFFu; }
std::uint32_t label_of(std::uint32_t unit) { return unit & 0x800000FFu; }
std::uint32_t offset_of(std::uint32_t unit) { return unit >> 10 << ((unit & 0x200u) >> 6); }

constexpr std::size_t kLongestGrapheme = 5;  // bytes; longer ones go by characters

}  // namespace

Charsmap::Charsmap(std::string_view bytes) {
  std::uint32_t trie_bytes = 0;
  require_input(
      bytes.size() > sizeof trie_bytes,
      "the table of replacements (precompiled_charsmap) has {} bytes; fetch the file again",
      bytes.size());
  std::memcpy(&trie_bytes, bytes.data(), sizeof trie_bytes);
  bytes.remove_prefix(sizeof trie_bytes);
  require_input(
      trie_bytes > 0 && trie_bytes % 4 == 0 && trie_bytes < bytes.size(),
      "the table of replacements (precompiled_charsmap) says {} bytes of trie and has {} in "
      "all; fetch the file again",
      trie_bytes, bytes.size());
  units_.resize(trie_bytes / 4);
  std::memcpy(units_.data(), bytes.data(), trie_bytes);
  replacements_ = bytes.substr(trie_bytes);
  if (replacements_.back() != '\0') replacements_.push_back('\0');
  require_input(
      is_valid_utf8(replacements_),
      "the table of replacements (precompiled_charsmap) is not UTF-8; fetch the file again");
}

Charsmap::Match Charsmap::find(std::string_view text, Want want) const {
  Match match;
  std::size_t at = offset_of(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    at ^= byte;
    if (at >= units_.size() || label_of(units_[at]) != byte) break;
    const std::uint32_t unit = units_[at];
    at ^= offset_of(unit);
    if (!has_leaf(unit)) continue;
    const std::uint32_t value = at < units_.size() ? value_of(units_[at]) : ~0u;
    const bool inside = value < replacements_.size() && (replacements_[value] & 0xC0) != 0x80;
    if (!inside) break;  // only in a damaged table
    match = {i + 1, replacements_.c_str() + value};
    if (want == Want::shortest) break;
  }
  return match;
}

std::string Charsmap::by_graphemes(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  const auto ascii = [&](std::size_t i) {
    return (static_cast<unsigned char>(text[i]) & 0x80) == 0;
  };
  // Between two ASCII characters a cluster ends, but in CR LF. So only what is around other
  // characters has to be asked about.
  const auto cuts = [&](std::size_t at) {
    return ascii(at - 1) && ascii(at) && !(text[at - 1] == '\r' && text[at] == '\n');
  };
  for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    end = begin + 1;
    while (end < text.size() && !cuts(end)) ++end;
    const std::string_view part = text.substr(begin, end - begin);
    part.size() == 1 ? append_grapheme(out, part) : append_graphemes(out, part);
  }
  return out;
}

void Charsmap::append_graphemes(std::string& out, std::string_view text) const {
  std::size_t begin = 0;
  for (const std::size_t end : grapheme_ends(text)) {
    append_grapheme(out, text.substr(begin, end - begin));
    begin = end;
  }
}

void Charsmap::append_grapheme(std::string& out, std::string_view grapheme) const {
  if (grapheme.size() <= kLongestGrapheme) {
    const Match match = shortest(grapheme);
    if (match.length > 0) {
      out += match.replacement;
      return;
    }
  }
  const auto* p = reinterpret_cast<const unsigned char*>(grapheme.data());
  const auto* const end = p + grapheme.size();
  while (p < end) {
    char32_t rune = 0;
    const auto length = static_cast<std::size_t>(decode_utf8(p, end, rune));
    const std::string_view one(reinterpret_cast<const char*>(p), length);
    const Match match = shortest(one);
    out += match.length > 0 ? match.replacement : one;
    p += length;
  }
}

}  // namespace bessemer::data
