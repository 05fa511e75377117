#include "data/normalizer.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "data/unicode_class.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

constexpr std::string_view kSpaceSymbol = "\u2581";
constexpr std::string_view kReplacementText = "\uFFFD";

/// Calls `body(rune, bytes)` for each character of valid UTF-8.
template <typename Body>
void each_rune(std::string_view text, const Body& body) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = p + text.size();
  while (p < end) {
    char32_t rune = 0;
    const auto length = static_cast<std::size_t>(std::max(1, decode_utf8(p, end, rune)));
    body(rune, std::string_view(reinterpret_cast<const char*>(p), length));
    p += length;
  }
}

bool is_space(char32_t rune) { return UnicodeClasses::instance().of(rune) == RuneClass::space; }

std::string strip(const StripStep& step, std::string_view text, bool& front_dropped) {
  std::size_t first = text.size(), last = 0;  // around what is no white space
  std::size_t at = 0;
  each_rune(text, [&](char32_t rune, std::string_view bytes) {
    const bool space = is_space(rune);
    if (!space) first = std::min(first, at);
    at += bytes.size();
    if (!space) last = at;
  });
  const std::size_t begin = step.left ? first : 0;
  const std::size_t end = step.right ? std::max(begin, last) : text.size();
  front_dropped |= begin > 0;
  return std::string(text.substr(begin, end - begin));
}

enum class Nmt { keep, drop, space };

/// SentencePiece's nmt rules, as `tokenizers` has them.
Nmt nmt_of(char32_t c) {
  const bool control = (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) ||
                       c == 0x7F || c == 0x8F || c == 0x9F;
  if (control) return Nmt::drop;
  const bool space = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                     (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                     c == 0xFEFF || c == 0xFFFD;
  return space ? Nmt::space : Nmt::keep;
}

std::string nmt(std::string_view text, bool& front_dropped) {
  std::string out;
  each_rune(text, [&](char32_t rune, std::string_view bytes) {
    const Nmt what = nmt_of(rune);
    if (what == Nmt::drop && out.empty()) front_dropped = true;
    if (what != Nmt::drop) out += what == Nmt::space ? std::string_view(" ") : bytes;
  });
  return out;
}

std::string strip_accents(std::string_view text, bool& front_dropped) {
  std::string out;
  each_rune(text, [&](char32_t rune, std::string_view bytes) {
    const bool mark = rune >= 0x80 && is_mark(rune);
    if (mark && out.empty()) front_dropped = true;
    if (!mark) out += bytes;
  });
  return out;
}

std::string lowercase(std::string_view text) {
  std::string out;
  each_rune(text, [&](char32_t rune, std::string_view) { append_lowercase(out, rune); });
  return out;
}

std::string replace_literal(const ReplaceStep& step, std::string_view text, bool& front_dropped) {
  std::string out;
  std::size_t at = 0;
  for (std::size_t next; (next = text.find(step.literal, at)) != text.npos;) {
    out.append(text, at, next - at) += step.content;
    at = next + step.literal.size();
    if (out.empty()) front_dropped = true;
  }
  return out.append(text, at);
}

std::string replace_pattern(const Regex& regex, const ReplaceStep& step, std::string_view text,
                            bool& front_dropped) {
  Regex::Matcher matcher(regex);
  matcher.start(text);
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    const auto match = matcher.find(at);
    if (!match) break;
    out.append(text, at, match->first - at) += step.content;
    at = match->second;
    if (out.empty()) front_dropped = true;
  }
  return out.append(text, at);
}

/// SentencePiece's normalizer at the front of `text`: what becomes of it, and how much of it.
std::pair<std::string_view, std::size_t> sentence_piece_front(const SentencePieceStep& step,
                                                              const LiteralSet& user_defined,
                                                              std::string_view text) {
  if (const auto kept = user_defined.at_front(text); kept.value >= 0) {
    return {text.substr(0, kept.length), kept.length};
  }
  if (step.charsmap != nullptr) {
    const Charsmap::Match match = step.charsmap->longest(text);
    if (match.length > 0) return {match.replacement, match.length};
  }
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  char32_t rune = 0;
  const auto length = static_cast<std::size_t>(decode_utf8(p, p + text.size(), rune));
  if (length == 0) return {kReplacementText, 1};
  return {text.substr(0, length), length};
}

std::string sentence_piece(const SentencePieceStep& step, const LiteralSet& user_defined,
                           std::string_view text) {
  using DummySpace = SentencePieceStep::DummySpace;
  const std::string_view space = step.escape_spaces ? kSpaceSymbol : " ";
  std::string out;
  while (step.remove_extra_spaces && !text.empty()) {
    const auto [made, length] = sentence_piece_front(step, user_defined, text);
    if (made != " ") break;
    text.remove_prefix(length);
  }
  if (text.empty()) return out;
  if (step.dummy_space == DummySpace::prefix) out += space;
  bool after_space = step.remove_extra_spaces;
  while (!text.empty()) {
    auto [made, length] = sentence_piece_front(step, user_defined, text);
    while (after_space && made.starts_with(' ')) made.remove_prefix(1);
    for (const char c : made) c == ' ' ? out.append(space) : out.append(1, c);
    if (!made.empty()) after_space = step.remove_extra_spaces && made.ends_with(' ');
    text.remove_prefix(length);
  }
  while (step.remove_extra_spaces && out.ends_with(space)) out.resize(out.size() - space.size());
  if (step.dummy_space == DummySpace::suffix) out += space;
  return out;
}

}  // namespace

Normalizer::Normalizer(std::vector<NormalizerStep> steps) : steps_(std::move(steps)) {
  for (const NormalizerStep& step : steps_) {
    const auto* replace = std::get_if<ReplaceStep>(&step);
    const bool pattern = replace != nullptr && replace->literal.empty();
    patterns_.push_back(pattern ? std::make_unique<Regex>(replace->pattern) : nullptr);
    literals_.push_back(std::make_unique<LiteralSet>());
    if (const auto* own = std::get_if<SentencePieceStep>(&step)) {
      for (const std::string& piece : own->user_defined) literals_.back()->insert(piece, 0);
    }
  }
}

bool Normalizer::cuttable() const {
  return std::all_of(steps_.begin(), steps_.end(), [](const NormalizerStep& step) {
    return std::holds_alternative<UnicodeForm>(step);
  });
}

std::string Normalizer::normalize(std::string_view text, bool* front_dropped) const {
  bool dropped = false;
  std::string out(text);
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const auto apply = [&](const auto& step) -> std::string {
      using Step = std::decay_t<decltype(step)>;
      if constexpr (std::is_same_v<Step, UnicodeForm>) {
        return to_form(step, out);
      } else if constexpr (std::is_same_v<Step, PrependStep>) {
        return out.empty() ? out : step.text + out;
      } else if constexpr (std::is_same_v<Step, ReplaceStep>) {
        return patterns_[i] == nullptr ? replace_literal(step, out, dropped)
                                       : replace_pattern(*patterns_[i], step, out, dropped);
      } else if constexpr (std::is_same_v<Step, StripStep>) {
        return strip(step, out, dropped);
      } else if constexpr (std::is_same_v<Step, LowercaseStep>) {
        return lowercase(out);
      } else if constexpr (std::is_same_v<Step, StripAccentsStep>) {
        return strip_accents(out, dropped);
      } else if constexpr (std::is_same_v<Step, NmtStep>) {
        return nmt(out, dropped);
      } else if constexpr (std::is_same_v<Step, CharsmapStep>) {
        return step.charsmap->by_graphemes(out);
      } else {
        return sentence_piece(step, *literals_[i], out);
      }
    };
    out = std::visit(apply, steps_[i]);
  }
  if (front_dropped != nullptr) *front_dropped = dropped;
  return out;
}

}  // namespace bessemer::data
