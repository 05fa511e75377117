#include "data/regex_syntax.h"

#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "data/unicode_class.h"

namespace bessemer::data {
namespace {

// What is not in kWhiteSpace.
constexpr std::string_view kNoWhiteSpace =
    R"(\x00-\x08\x0e-\x1f\x21-\x84\x86-\x9f\xa1-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";

class Translation {
 public:
  explicit Translation(std::string_view pattern) : pattern_(pattern) {
    while (at_ < pattern_.size()) in_class_ ? translate_in_class() : translate();
  }

  std::string text() && { return std::move(out_); }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail_input("pattern {:?}: {} is not supported; use a tokenizer without it", pattern_, what);
  }

  bool comes(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  void put(std::string_view text, std::size_t taken) {
    out_ += text;
    at_ += taken;
  }
  void copy(std::size_t n) { put(pattern_.substr(at_, n), n); }

  void translate() {
    if (comes("[")) {
      in_class_ = true;
      copy(comes("[^") ? 2 : 1);
      if (comes("]")) copy(1);  // stands for itself there
    } else if (comes("(?")) {
      translate_group();
    } else if (comes(R"(\s)")) {
      put(fmt::format("[{}]", kWhiteSpace), 2);
    } else if (comes(R"(\S)")) {
      put(fmt::format("[^{}]", kWhiteSpace), 2);
    } else if (comes(R"(\w)")) {
      put(fmt::format("[{}]", word_), 2);
    } else if (comes(R"(\W)")) {
      put(fmt::format("[^{}]", word_), 2);
    } else if (comes(R"(\b)")) {
      put(fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", word_), 2);
    } else if (comes(R"(\B)")) {
      put(fmt::format("(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))", word_), 2);
    } else {
      translate_either();
    }
  }

  void translate_in_class() {
    if (comes("]")) {
      in_class_ = false;
      copy(1);
    } else if (comes("[:")) {
      refuse("a POSIX class");  // Oniguruma's have more in them than PCRE2's
    } else if (comes("[") || comes("&&")) {
      refuse("a class in a class");
    } else if (comes(R"(\s)")) {
      put(kWhiteSpace, 2);
    } else if (comes(R"(\S)")) {
      put(kNoWhiteSpace, 2);
    } else if (comes(R"(\w)")) {
      put(kWordCharacters, 2);
    } else if (comes(R"(\W)")) {
      refuse(R"(\W in a class)");
    } else {
      translate_either();
    }
  }

  /// What is written alike in a class and elsewhere.
  void translate_either() {
    constexpr std::string_view kOther = "HXRONyYG";  // of the letters behind a backslash
    if (comes(R"(\h)")) {
      put(in_class_ ? "0-9a-fA-F" : "[0-9a-fA-F]", 2);
    } else if (comes("\\") && at_ + 1 < pattern_.size()) {
      if (kOther.find(pattern_[at_ + 1]) != kOther.npos) refuse(pattern_.substr(at_, 2));
      copy(2);
    } else {
      copy(1);
    }
  }

  /// The flag m lets a dot match a newline, which is s here.
  void translate_group() {
    copy(2);
    for (; at_ < pattern_.size(); ++at_) {
      const char c = pattern_[at_];
      if (c != 'i' && c != 'm' && c != 'x' && c != '-') break;
      out_ += c == 'm' ? 's' : c;
    }
    if (comes("~")) refuse("(?~");
  }

  /// \w outside a class: there Oniguruma has some numbers of Latin-1 in it that are no decimal
  /// digits.
  const std::string word_ = std::string(kWordCharacters) + R"(\xb2\xb3\xb9\xbc-\xbe)";
  std::string_view pattern_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

std::string from_oniguruma(std::string_view pattern) { return Translation(pattern).text(); }

}  // namespace bessemer::data
