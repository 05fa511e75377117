#include "data/unicode_form.h"

#include <cstring>

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>

#include "data/icu.h"
#include "data/unicode_version.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

const icu::UnicodeSet& known_characters() {
  static const icu::UnicodeSet set = [] {
    UErrorCode code = U_ZERO_ERROR;
    icu::UnicodeSet made(u"[:age=9.0:]", code);
    check(code);
    made.freeze();
    return made;
  }();
  return set;
}

const icu::Normalizer2& plain_normalizer(UnicodeForm form) {
  UErrorCode code = U_ZERO_ERROR;
  const icu::Normalizer2* found = nullptr;
  switch (form) {
    case UnicodeForm::nfc: found = icu::Normalizer2::getNFCInstance(code); break;
    case UnicodeForm::nfd: found = icu::Normalizer2::getNFDInstance(code); break;
    case UnicodeForm::nfkc: found = icu::Normalizer2::getNFKCInstance(code); break;
    case UnicodeForm::nfkd: found = icu::Normalizer2::getNFKDInstance(code); break;
  }
  check(code);
  return *found;
}

const icu::Normalizer2& normalizer(UnicodeForm form) {
  static const icu::FilteredNormalizer2 nfc(plain_normalizer(UnicodeForm::nfc), known_characters());
  static const icu::FilteredNormalizer2 nfd(plain_normalizer(UnicodeForm::nfd), known_characters());
  static const icu::FilteredNormalizer2 nfkc(plain_normalizer(UnicodeForm::nfkc),
                                             known_characters());
  static const icu::FilteredNormalizer2 nfkd(plain_normalizer(UnicodeForm::nfkd),
                                             known_characters());
  switch (form) {
    case UnicodeForm::nfc: return nfc;
    case UnicodeForm::nfd: return nfd;
    case UnicodeForm::nfkc: return nfkc;
    default: return nfkd;
  }
}

}  // namespace

bool is_ascii(std::string_view text) {
  std::size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + i, 8);
    if ((word & 0x8080808080808080u) != 0) return false;
  }
  for (; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0x80) != 0) return false;
  }
  return true;
}

std::string to_form(UnicodeForm form, std::string_view text) {
  std::string out;
  if (is_ascii(text)) return out.assign(text);
  require(text.size() < (1u << 31), "a text of {} bytes to normalize", text.size());
  UErrorCode code = U_ZERO_ERROR;
  icu::StringByteSink<std::string> sink(&out, static_cast<std::int32_t>(text.size()));
  normalizer(form).normalizeUTF8(
      0, icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())), sink, nullptr,
      code);
  check(code);
  return out;
}

bool is_mark(char32_t rune) {
  const auto point = static_cast<UChar32>(rune);
  // Two that were marks in Unicode 9 and are letters now, and one that was none and is one now.
  if (rune == 0x1CF2 || rune == 0x1CF3) return true;
  if (rune == 0x111C9) return false;
  if ((U_GET_GC_MASK(point) & U_GC_M_MASK) == 0) return false;
  return age_of(rune) <= kUnicodeOfForms;
}

void append_lowercase(std::string& out, char32_t rune) {
  // The one character whose lower case, without context, is two (SpecialCasing.txt).
  constexpr char32_t kCapitalIWithDot = 0x130;
  const auto point = static_cast<UChar32>(rune);
  if (rune < 0x80) {
    out.push_back(static_cast<char>(rune >= 'A' && rune <= 'Z' ? rune + ('a' - 'A') : rune));
  } else if (rune == kCapitalIWithDot) {
    out += "i\u0307";
  } else if (const Younger* const range = find_range(younger_lower_cases(), rune)) {
    append_utf8(out, range->like + (rune - range->first));
  } else {
    append_utf8(out,
                age_of(rune) <= kUnicodeOfRust ? static_cast<char32_t>(u_tolower(point)) : rune);
  }
}

bool is_valid_utf8(std::string_view text) {
  if (is_ascii(text)) return true;
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = p + text.size();
  while (p < end) {
    char32_t rune = 0;
    const int length = decode_utf8(p, end, rune);
    if (length == 0) return false;
    p += length;
  }
  return true;
}

std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = p + text.size();
  while (p < end) {
    char32_t rune = 0;
    const int length = decode_utf8(p, end, rune);
    if (length == 0) {
      append_utf8(out, kReplacement);
      ++p;
    } else {
      out.append(reinterpret_cast<const char*>(p), static_cast<std::size_t>(length));
      p += length;
    }
  }
  return out;
}

}  // namespace bessemer::data
