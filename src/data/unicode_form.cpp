#include "data/unicode_form.h"

#include <cstring>
#include <memory>

#include <unicode/brkiter.h>
#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>
#include <unicode/utext.h>

#include "base/error.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

constexpr std::uint8_t kUnicodeOfHuggingFace = 9;

void check(UErrorCode code) {
  if (U_FAILURE(code)) fail("ICU: {}", u_errorName(code));
}

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

std::unique_ptr<icu::BreakIterator> new_grapheme_iterator() {
  static const std::unique_ptr<icu::BreakIterator> prototype = [] {
    UErrorCode code = U_ZERO_ERROR;
    std::unique_ptr<icu::BreakIterator> made(
        icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), code));
    check(code);
    return made;
  }();
  return std::unique_ptr<icu::BreakIterator>(prototype->clone());
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
  UVersionInfo age;
  u_charAge(point, age);
  return age[0] <= kUnicodeOfHuggingFace;
}

void append_lowercase(std::string& out, char32_t rune) {
  // The one character whose lower case, without context, is two (SpecialCasing.txt).
  constexpr char32_t kCapitalIWithDot = 0x130;
  if (rune == kCapitalIWithDot) {
    out += "i\u0307";
  } else {
    append_utf8(out, static_cast<char32_t>(u_tolower(static_cast<UChar32>(rune))));
  }
}

std::vector<std::size_t> grapheme_ends(std::string_view text) {
  const auto iterator = new_grapheme_iterator();
  UErrorCode code = U_ZERO_ERROR;
  UText opened = UTEXT_INITIALIZER;
  utext_openUTF8(&opened, text.data(), static_cast<std::int64_t>(text.size()), &code);
  iterator->setText(&opened, code);
  check(code);
  std::vector<std::size_t> ends;
  iterator->first();
  for (auto at = iterator->next(); at != icu::BreakIterator::DONE; at = iterator->next()) {
    ends.push_back(static_cast<std::size_t>(at));
  }
  utext_close(&opened);
  return ends;
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
