#include "data/graphemes.h"

#include <algorithm>
#include <memory>
#include <string>

#include <unicode/brkiter.h>
#include <unicode/uchar.h>
#include <unicode/utext.h>

#include "base/error.h"
#include "data/icu.h"
#include "data/unicode_version.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

std::unique_ptr<icu::BreakIterator> new_iterator() {
  static const std::unique_ptr<icu::BreakIterator> prototype = [] {
    UErrorCode code = U_ZERO_ERROR;
    std::unique_ptr<icu::BreakIterator> made(
        icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), code));
    check(code);
    return made;
  }();
  return std::unique_ptr<icu::BreakIterator>(prototype->clone());
}

/// Rule GB9c, which ICU has had only of late: no cluster ends in front of a consonant that a
/// virama, with marks beside it, joins to the one before.
class Conjuncts {
 public:
  /// Takes the next character of a text, with what it is looked up as: whether it is joined so to
  /// what stands in front of it.
  bool joins(char32_t rune, char32_t known_as) {
    if (find_range(conjunct_consonants(), rune) != nullptr) {
      const bool joined = place_ == Place::behind_linker;
      place_ = Place::behind_consonant;
      return joined;
    }
    if (place_ != Place::elsewhere && find_range(conjunct_linkers(), rune) != nullptr) {
      place_ = Place::behind_linker;
    } else if (!extends(known_as)) {
      place_ = Place::elsewhere;
    }
    return false;
  }

 private:
  static bool extends(char32_t rune) {
    constexpr char32_t kNonJoiner = 0x200C;
    const int kind =
        u_getIntPropertyValue(static_cast<UChar32>(rune), UCHAR_GRAPHEME_CLUSTER_BREAK);
    return (kind == U_GCB_EXTEND || kind == U_GCB_ZWJ) && rune != kNonJoiner;
  }

  enum class Place { elsewhere, behind_consonant, behind_linker };
  Place place_ = Place::elsewhere;
};

/// Where a character is joined to the one before, ascending.
std::vector<std::size_t> conjunct_places(std::string_view text, const StandIns& stand_ins) {
  Conjuncts conjuncts;
  std::vector<std::size_t> places;
  const auto* const begin = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = begin + text.size();
  for (const unsigned char* p = begin; p < end;) {
    char32_t rune = 0;
    const int length = decode_utf8(p, end, rune);
    require(length > 0, "a text that is not UTF-8");
    if (conjuncts.joins(rune, stand_ins(rune))) {
      places.push_back(static_cast<std::size_t>(p - begin));
    }
    p += length;
  }
  return places;
}

}  // namespace

std::vector<std::size_t> grapheme_ends(std::string_view text) {
  const StandIns& stand_ins = StandIns::of(kUnicodeOfRust, unicode_of_icu());
  std::string buffer;
  const std::string_view known = stand_ins.replace(text, buffer);
  const auto iterator = new_iterator();
  UErrorCode code = U_ZERO_ERROR;
  UText opened = UTEXT_INITIALIZER;
  utext_openUTF8(&opened, known.data(), static_cast<std::int64_t>(known.size()), &code);
  iterator->setText(&opened, code);
  check(code);
  std::vector<std::size_t> ends;
  iterator->first();
  for (auto at = iterator->next(); at != icu::BreakIterator::DONE; at = iterator->next()) {
    ends.push_back(static_cast<std::size_t>(at));
  }
  utext_close(&opened);
  const std::vector<std::size_t> joined = conjunct_places(text, stand_ins);
  std::erase_if(
      ends, [&](std::size_t end) { return std::binary_search(joined.begin(), joined.end(), end); });
  return ends;
}

}  // namespace bessemer::data
