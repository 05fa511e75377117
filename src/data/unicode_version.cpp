#include "data/unicode_version.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include <unicode/uchar.h>

#include "base/error.h"
#include "data/unicode_form.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

constexpr char32_t kCodePoints = 0x110000;
constexpr UnicodeVersion kOld = 140;  // of what both sides know

// Never assigned, by the length of their UTF-8. Two of them are noncharacters.
constexpr std::array<char32_t, 5> kUnassigned{0, 0, 0x03A2, 0xFFFE, 0x1FFFE};

std::size_t utf8_length(char32_t rune) {
  if (rune < 0x80) return 1;
  if (rune < 0x800) return 2;
  return rune < 0x10000 ? 3 : 4;
}

UnicodeVersion version_of(const UVersionInfo& version) { return 10 * version[0] + version[1]; }

/// The version that each character came with; 0: none yet.
std::vector<std::uint8_t> make_ages() {
  std::vector<std::uint8_t> ages(kCodePoints);
  for (char32_t rune = 0; rune < kCodePoints; ++rune) {
    ages[rune] = static_cast<std::uint8_t>(age_of(rune));
  }
  for (const Younger& range : younger_characters()) {
    if (range.version == kOld) continue;
    for (char32_t rune = range.first; rune <= range.last; ++rune) {
      ages[rune] = static_cast<std::uint8_t>(range.version);
    }
  }
  return ages;
}

}  // namespace

UnicodeVersion age_of(char32_t rune) {
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(rune), age);
  return version_of(age);
}

UnicodeVersion unicode_of_icu() {
  UVersionInfo version;
  u_getUnicodeVersion(version);
  return version_of(version);
}

const StandIns& StandIns::of(UnicodeVersion wanted, UnicodeVersion tables) {
  static std::mutex mutex;
  static std::map<std::pair<UnicodeVersion, UnicodeVersion>, std::unique_ptr<StandIns>> made;
  const std::lock_guard lock(mutex);
  std::unique_ptr<StandIns>& slot = made[{wanted, tables}];
  if (!slot) slot.reset(new StandIns(wanted, tables));
  return *slot;
}

StandIns::StandIns(UnicodeVersion wanted, UnicodeVersion tables)
    : wanted_(wanted), has_one_(kCodePoints, false) {
  require(tables >= kOld, "Unicode tables of version {}, expected 14 or later", tables / 10);
  const std::vector<std::uint8_t> ages = make_ages();
  for (char32_t rune = 0; rune < kCodePoints; ++rune) {
    const int age = ages[rune];
    has_one_[rune] = age != 0 && (age <= wanted) != (age <= tables);
  }
  for (const Younger& range : younger_characters()) {
    if (range.version == kOld) has_one_[range.first] = true;
  }
}

char32_t StandIns::operator()(char32_t rune) const {
  if (!has_one_[rune]) return rune;
  const Younger* const range = find_range(younger_characters(), rune);
  const bool known = range != nullptr && range->version <= wanted_;
  return known ? range->like : kUnassigned[utf8_length(rune)];
}

std::string_view StandIns::replace(std::string_view text, std::string& buffer) const {
  if (is_ascii(text)) return text;
  const auto* const begin = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = begin + text.size();
  bool copied = false;
  for (const unsigned char* p = begin; p < end;) {
    char32_t rune = *p;
    const int length = rune < 0x80 ? 1 : decode_utf8(p, end, rune);
    require(length > 0, "a text that is not UTF-8");
    if (has_one_[rune]) {
      if (!copied) buffer.assign(text);
      copied = true;
      std::string other;
      append_utf8(other, (*this)(rune));
      buffer.replace(static_cast<std::size_t>(p - begin), other.size(), other);
    }
    p += length;
  }
  return copied ? std::string_view(buffer) : text;
}

}  // namespace bessemer::data
