#include "data/unicode_class.h"

#include <unicode/uchar.h>

#include "data/unicode_version.h"

namespace bessemer::data {
namespace {

constexpr char32_t kCodePoints = 0x110000;

RuneClass class_of(char32_t rune, std::uint32_t category) {
  if ((category & U_GC_L_MASK) != 0) return RuneClass::letter;
  if ((category & U_GC_N_MASK) != 0) return RuneClass::number;
  return u_isUWhiteSpace(static_cast<UChar32>(rune)) ? RuneClass::space : RuneClass::other;
}

bool is_word_character(char32_t rune, std::uint32_t category) {
  constexpr std::uint32_t kWords =
      U_GC_L_MASK | U_GC_M_MASK | U_GC_ND_MASK | U_GC_NL_MASK | U_GC_PC_MASK;
  const bool circled = (rune >= 0x24B6 && rune <= 0x24E9) || (rune >= 0x1F130 && rune <= 0x1F149) ||
                       (rune >= 0x1F150 && rune <= 0x1F169) || (rune >= 0x1F170 && rune <= 0x1F189);
  const bool joiner = rune == 0x200C || rune == 0x200D;
  return (category & kWords) != 0 || circled || joiner;
}

}  // namespace

UnicodeClasses::UnicodeClasses()
    : table_(kCodePoints, RuneClass::other), words_(kCodePoints, false) {
  const StandIns& stand_ins = StandIns::of(kUnicodeOfPatterns, unicode_of_icu());
  for (char32_t rune = 0; rune < kCodePoints; ++rune) {
    const std::uint32_t category = U_GET_GC_MASK(static_cast<UChar32>(stand_ins(rune)));
    table_[rune] = class_of(rune, category);
    words_[rune] = is_word_character(rune, category);
  }
}

const UnicodeClasses& UnicodeClasses::instance() {
  static const UnicodeClasses classes;
  return classes;
}

}  // namespace bessemer::data
