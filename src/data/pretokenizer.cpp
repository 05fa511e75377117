#include "data/pretokenizer.h"

#include <algorithm>
#include <type_traits>
#include <utility>

namespace bessemer::data {
namespace {

using Behavior = SplitStep::Behavior;

struct Span {
  std::size_t begin, end;
  bool match;
};

/// All of `text` as matches and what lies between, in order.
std::vector<Span> find_spans(Regex::Matcher& matcher, std::string_view text, bool inverted) {
  std::vector<Span> spans;
  matcher.start(text);
  std::size_t at = 0;
  while (at < text.size()) {
    const auto match = matcher.find(at);
    if (!match) break;
    if (match->first > at) spans.push_back({at, match->first, inverted});
    spans.push_back({match->first, match->second, !inverted});
    at = match->second;
  }
  if (at < text.size()) spans.push_back({at, text.size(), inverted});
  return spans;
}

/// The spans that stay, joined as `behavior` says.
std::vector<Span> arrange(std::vector<Span> spans, Behavior behavior) {
  if (behavior == Behavior::isolated) return spans;
  if (behavior == Behavior::removed) {
    std::erase_if(spans, [](const Span& span) { return span.match; });
    return spans;
  }
  // Of several matches in a row the one beside other text is joined to it, but "contiguous" joins
  // all that are alike.
  const bool backward = behavior == Behavior::merged_with_next;
  if (backward) std::reverse(spans.begin(), spans.end());
  std::vector<Span> out;
  bool after_match = false;
  for (const Span& span : spans) {
    const bool joins =
        behavior == Behavior::contiguous ? span.match == after_match : span.match && !after_match;
    after_match = span.match;
    if (!joins || out.empty()) {
      out.push_back(span);
    } else if (backward) {
      out.back().begin = span.begin;
    } else {
      out.back().end = span.end;
    }
  }
  if (backward) std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace

Pretokenizer::Pretokenizer(std::vector<PretokenizerStep> steps)
    : steps_(std::move(steps)), kind_(Kind::steps) {
  if (steps_.empty()) kind_ = Kind::whole;
  if (steps_.size() == 1 && std::holds_alternative<PatternStep>(steps_[0])) kind_ = Kind::pattern;
  for (const PretokenizerStep& step : steps_) {
    const auto* pattern = std::get_if<PatternStep>(&step);
    const auto* split = std::get_if<SplitStep>(&step);
    patterns_.push_back(pattern ? std::make_unique<WordPattern>(pattern->pattern,
                                                                WordPattern::Engine::automatic,
                                                                pattern->unicode)
                                : nullptr);
    regexes_.push_back(split ? std::make_unique<Regex>(split->pattern, split->unicode) : nullptr);
  }
}

Pretokenizer::Words::Words(const Pretokenizer& pretokenizer) : owner_(&pretokenizer) {
  for (std::size_t i = 0; i < owner_->steps_.size(); ++i) {
    const auto& pattern = owner_->patterns_[i];
    const auto& regex = owner_->regexes_[i];
    patterns_.push_back(pattern ? std::make_unique<WordPattern::Words>(*pattern) : nullptr);
    matchers_.push_back(regex ? std::make_unique<Regex::Matcher>(*regex) : nullptr);
  }
}

void Pretokenizer::Words::start(std::string_view text, bool first) {
  if (owner_->kind_ == Kind::pattern) return patterns_[0]->start(text);
  words_.clear();
  kept_.clear();
  next_ = 0;
  if (!text.empty()) words_.push_back({text, first});
  if (owner_->kind_ == Kind::steps) cut_all();
}

bool Pretokenizer::Words::next(std::string_view& word) {
  if (owner_->kind_ == Kind::pattern) return patterns_[0]->next(word);
  if (next_ == words_.size()) return false;
  word = words_[next_++].text;
  return true;
}

void Pretokenizer::Words::cut_all() {
  for (std::size_t step = 0; step < owner_->steps_.size(); ++step) apply(step);
}

void Pretokenizer::Words::apply(std::size_t index) {
  std::vector<Word> out;
  out.reserve(words_.size());
  for (const Word& word : words_) {
    const auto visit = [&](const auto& step) {
      using Step = std::decay_t<decltype(step)>;
      if constexpr (std::is_same_v<Step, PatternStep>) {
        patterns_[index]->start(word.text);
        for (std::string_view part; patterns_[index]->next(part);) {
          out.push_back({part, word.first && part.data() == word.text.data()});
        }
      } else if constexpr (std::is_same_v<Step, SplitStep>) {
        split(step, *matchers_[index], word, out);
      } else if constexpr (std::is_same_v<Step, MetaspaceStep>) {
        metaspace(step, word, out);
      } else {
        const bool has = word.text.starts_with(' ');
        out.push_back({has ? word.text : keep(" " + std::string(word.text)), word.first});
      }
    };
    std::visit(visit, owner_->steps_[index]);
  }
  words_ = std::move(out);
}

void Pretokenizer::Words::split(const SplitStep& step, Regex::Matcher& matcher, const Word& word,
                                std::vector<Word>& out) {
  for (const Span& span : arrange(find_spans(matcher, word.text, step.inverted), step.behavior)) {
    out.push_back(
        {word.text.substr(span.begin, span.end - span.begin), word.first && span.begin == 0});
  }
}

void Pretokenizer::Words::metaspace(const MetaspaceStep& step, const Word& word,
                                    std::vector<Word>& out) {
  using Prepend = MetaspaceStep::Prepend;
  std::string text;
  text.reserve(word.text.size() + word.text.size() / 2 + step.replacement.size());
  const bool has = word.text.starts_with(' ') || word.text.starts_with(step.replacement);
  const bool wanted =
      step.prepend == Prepend::always || (step.prepend == Prepend::first && word.first);
  if (wanted && !has) text += step.replacement;
  for (const char c : word.text) c == ' ' ? text.append(step.replacement) : text.append(1, c);
  const std::string_view whole = keep(std::move(text));
  std::size_t begin = 0;
  while (step.split && begin < whole.size()) {
    const std::size_t end = std::min(whole.find(step.replacement, begin + 1), whole.size());
    out.push_back({whole.substr(begin, end - begin), word.first && begin == 0});
    begin = end;
  }
  if (begin < whole.size()) out.push_back({whole.substr(begin), word.first});
}

std::string_view Pretokenizer::Words::keep(std::string text) {
  kept_.push_back(std::make_unique<std::string>(std::move(text)));
  return *kept_.back();
}

}  // namespace bessemer::data
