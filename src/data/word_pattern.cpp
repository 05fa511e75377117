#include "data/word_pattern.h"

#include <utility>

#include "data/utf8.h"

namespace bessemer::data {
namespace {

using Byte = unsigned char;

/// What the scanners share. A scanner gives the length of the word at the front of [p, end).
class Scan {
 public:
  Scan(const UnicodeClasses& classes, const Byte* end) : classes_(classes), end_(end) {}

  RuneClass kind(const Byte* p) const { return classes_.at(p, end_).kind; }
  Rune rune(const Byte* p) const { return classes_.at(p, end_); }
  const Byte* end() const { return end_; }

  /// The end of the run of runes of class `kind` that starts at `p`.
  const Byte* run(const Byte* p, RuneClass kind) const {
    while (p < end_) {
      const Rune next = classes_.at(p, end_);
      if (next.kind != kind) break;
      p += next.length;
    }
    return p;
  }

  /// `\s+(?!\S)|\s+` at `p`: the whole run where the text ends behind it, else all but its last.
  const Byte* spaces(const Byte* p) const {
    const Byte* last = p;
    const Byte* q = p;
    while (q < end_) {
      const Rune next = classes_.at(q, end_);
      if (next.kind == RuneClass::invalid) return q;  // valid text ends here
      if (next.kind != RuneClass::space) return last > p ? last : q;
      last = q;
      q += next.length;
    }
    return q;
  }

  /// Length of `'s|'t|'re|'ve|'m|'ll|'d` at `p`, which is an apostrophe; 0 where it is none.
  int contraction(const Byte* p, bool any_case) const {
    const auto lower = [&](int i) -> Byte {
      if (end_ - p <= i) return 0;
      const bool upper = p[i] >= 'A' && p[i] <= 'Z';
      return any_case && upper ? static_cast<Byte>(p[i] | 0x20) : p[i];
    };
    const Byte a = lower(1), b = lower(2);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    const bool long_s = a == 0xC5 && b == 0xBF;  // U+017F, whose other case is 's'
    return any_case && long_s ? 3 : 0;
  }

 private:
  const UnicodeClasses& classes_;
  const Byte* end_;
};

const Byte* gpt2_word(const Scan& scan, const Byte* p) {
  if (*p == '\'') {
    const int n = scan.contraction(p, false);
    if (n > 0) return p + n;
  }
  if (*p == ' ' && p + 1 < scan.end()) {
    const RuneClass kind = scan.kind(p + 1);
    if (kind != RuneClass::space && kind != RuneClass::invalid) return scan.run(p + 1, kind);
  }
  const RuneClass kind = scan.kind(p);
  return kind == RuneClass::space ? scan.spaces(p) : scan.run(p, kind);
}

/// `\s*[\r\n]+` at `p`: to the last line break of the run of white space; null where none is.
const Byte* line_breaks(const Scan& scan, const Byte* p) {
  const Byte* const stop = scan.run(p, RuneClass::space);
  for (const Byte* q = stop; q > p; --q) {
    if (q[-1] == '\n' || q[-1] == '\r') return q;
  }
  return nullptr;
}

/// What tells the patterns after Llama 3's apart.
struct Llama3Rules {
  int most_digits = 3;
  bool last_spaces_whole = false;  // white space that ends a text is one word
};

const Byte* llama3_word(const Scan& scan, const Byte* p, Llama3Rules rules) {
  if (*p == '\'') {
    const int n = scan.contraction(p, true);
    if (n > 0) return p + n;
  }
  const Rune first = scan.rune(p);
  if (first.kind == RuneClass::letter || first.kind == RuneClass::invalid) {
    return scan.run(p, first.kind);
  }
  const Byte* const second = p + first.length;
  if (first.kind == RuneClass::number) {
    const Byte* q = second;
    for (int n = 1; n < rules.most_digits && q < scan.end(); ++n) {
      const Rune next = scan.rune(q);
      if (next.kind != RuneClass::number) break;
      q += next.length;
    }
    return q;
  }
  const bool line_break = *p == '\n' || *p == '\r';
  if (!line_break && second < scan.end() && scan.kind(second) == RuneClass::letter) {
    return scan.run(second, RuneClass::letter);
  }
  const bool space_then_other =
      *p == ' ' && second < scan.end() && scan.kind(second) == RuneClass::other;
  if (first.kind == RuneClass::other || space_then_other) {
    const Byte* q = scan.run(second, RuneClass::other);
    while (q < scan.end() && (*q == '\n' || *q == '\r')) ++q;
    return q;
  }
  if (rules.last_spaces_whole) {
    const Byte* const stop = scan.run(p, RuneClass::space);
    if (stop == scan.end() || scan.kind(stop) == RuneClass::invalid) return stop;
  }
  const Byte* const breaks = line_breaks(scan, p);
  return breaks != nullptr ? breaks : scan.spaces(p);
}

/// End of the run that starts at `at` of valid UTF-8 (`valid`) or of bytes that are not.
std::size_t end_of_run(std::string_view text, std::size_t at, bool valid) {
  const auto* const begin = reinterpret_cast<const Byte*>(text.data());
  const Byte* const end = begin + text.size();
  const Byte* p = begin + at;
  while (p < end) {
    char32_t rune = 0;
    const int length = decode_utf8(p, end, rune);
    if ((length > 0) != valid) break;
    p += valid ? length : 1;
  }
  return static_cast<std::size_t>(p - begin);
}

}  // namespace

WordPattern::WordPattern(std::string pattern, Engine engine, UnicodeVersion unicode)
    : pattern_(std::move(pattern)),
      scanner_(Scanner::pcre2),
      classes_(&UnicodeClasses::instance()) {
  if (pattern_.empty()) {
    scanner_ = Scanner::none;
  } else if (engine == Engine::automatic && unicode == kUnicodeOfPatterns) {
    if (pattern_ == kGpt2Pattern) scanner_ = Scanner::gpt2;
    if (pattern_ == kLlama3Pattern) scanner_ = Scanner::llama3;
    if (pattern_ == kQwen2Pattern) scanner_ = Scanner::qwen2;
    if (pattern_ == kCl100kPattern) scanner_ = Scanner::cl100k;
  }
  if (scanner_ == Scanner::pcre2) regex_ = std::make_unique<Regex>(pattern_, unicode);
}

WordPattern::Words::Words(const WordPattern& pretokenizer) : owner_(&pretokenizer) {
  if (owner_->regex_ != nullptr) matcher_ = std::make_unique<Regex::Matcher>(*owner_->regex_);
}

void WordPattern::Words::start(std::string_view text) {
  text_ = text;
  at_ = valid_begin_ = valid_end_ = match_end_ = 0;
}

bool WordPattern::Words::next(std::string_view& word) {
  if (at_ == text_.size()) return false;
  const auto* const p = reinterpret_cast<const Byte*>(text_.data()) + at_;
  const Scan scan(*owner_->classes_, reinterpret_cast<const Byte*>(text_.data()) + text_.size());
  const auto length = [&](const Byte* stop) { return static_cast<std::size_t>(stop - p); };
  std::size_t n = 0;
  switch (owner_->scanner_) {
    case Scanner::none: n = text_.size(); break;
    case Scanner::gpt2: n = length(gpt2_word(scan, p)); break;
    case Scanner::llama3: n = length(llama3_word(scan, p, {})); break;
    case Scanner::qwen2: n = length(llama3_word(scan, p, {1, false})); break;
    case Scanner::cl100k: n = length(llama3_word(scan, p, {3, true})); break;
    case Scanner::pcre2: n = next_match() - at_; break;
  }
  word = text_.substr(at_, n);
  at_ += n;
  return true;
}

/// The end of the word at at_, by PCRE2.
std::size_t WordPattern::Words::next_match() {
  if (match_end_ > at_) return match_end_;  // found together with the gap in front of it
  if (at_ == valid_end_) {
    const std::size_t invalid = end_of_run(text_, at_, false);
    if (invalid > at_) {
      valid_begin_ = valid_end_ = invalid;
      return invalid;
    }
    valid_begin_ = at_;
    valid_end_ = end_of_run(text_, at_, true);
    matcher_->start(text_.substr(valid_begin_, valid_end_ - valid_begin_));
  }
  const auto match = matcher_->find(at_ - valid_begin_);
  if (!match) return valid_end_;
  match_end_ = valid_begin_ + match->second;
  return match->first > at_ - valid_begin_ ? valid_begin_ + match->first : match_end_;
}

}  // namespace bessemer::data
