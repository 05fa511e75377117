// UTF-8, as The Unicode Standard's table 3-7 defines it: no overlong forms, no surrogates.
#pragma once

#include <string>

namespace bessemer::data {

inline constexpr char32_t kReplacement = 0xFFFD;

/// Length 1 to 4 of the well-formed sequence at `p`, with its value in `rune`; 0 where there is
/// none. Needs p < end.
inline int decode_utf8(const unsigned char* p, const unsigned char* end, char32_t& rune) {
  const auto continues = [&](int i) { return end - p > i && (p[i] & 0xC0) == 0x80; };
  const char32_t lead = p[0];
  if (lead < 0x80) {
    rune = lead;
    return 1;
  }
  if (lead < 0xC2 || lead > 0xF4 || !continues(1)) return 0;
  if (lead < 0xE0) {
    rune = (lead & 0x1F) << 6 | (p[1] & 0x3Fu);
    return 2;
  }
  if (!continues(2)) return 0;
  if (lead < 0xF0) {
    rune = (lead & 0x0F) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
    return rune < 0x800 || (rune >= 0xD800 && rune <= 0xDFFF) ? 0 : 3;
  }
  if (!continues(3)) return 0;
  rune = (lead & 0x07) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
  return rune < 0x10000 || rune > 0x10FFFF ? 0 : 4;
}

/// Appends the UTF-8 form of `rune`, a Unicode scalar value.
inline void append_utf8(std::string& out, char32_t rune) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (rune < 0x80) return put(rune);
  if (rune < 0x800) {
    put(0xC0 | rune >> 6);
  } else {
    if (rune < 0x10000) {
      put(0xE0 | rune >> 12);
    } else {
      put(0xF0 | rune >> 18);
      put(0x80 | (rune >> 12 & 0x3F));
    }
    put(0x80 | (rune >> 6 & 0x3F));
  }
  put(0x80 | (rune & 0x3F));
}

}  // namespace bessemer::data
