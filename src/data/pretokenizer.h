// The part of a tokenizer that cuts text into words; no token crosses the border between two.
//
// The steps are those of a `tokenizer.json` (Hugging Face's names and rules), each applied to the
// words of the one before. A pattern alone, which is what GPT-2, Llama 3 and Qwen have, gives its
// words one by one; else there is a list of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "data/regex.h"
#include "data/word_pattern.h"

namespace bessemer::data {

/// Words by a pattern, all of the text kept (ByteLevel with use_regex, Split "Isolated").
struct PatternStep {
  std::string pattern;
  UnicodeVersion unicode = kUnicodeOfPatterns;
};
/// Cuts around the matches of a pattern in one of Hugging Face's ways.
struct SplitStep {
  enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
  std::string pattern;
  Behavior behavior = Behavior::isolated;
  bool inverted = false;  // what lies between matches is what matches
  UnicodeVersion unicode = kUnicodeOfPatterns;
};
/// Spaces become `replacement`, which may also be put in front; each replacement begins a word.
struct MetaspaceStep {
  enum class Prepend { always, first, never };
  std::string replacement{"\u2581"};
  Prepend prepend = Prepend::always;
  bool split = true;
};
/// A space in front of a word that has none (ByteLevel's add_prefix_space).
struct PrefixSpaceStep {};

using PretokenizerStep = std::variant<PatternStep, SplitStep, MetaspaceStep, PrefixSpaceStep>;

/// Immutable; for any number of threads.
class Pretokenizer {
 public:
  /// No step: each text is one word. InputError for a broken pattern.
  explicit Pretokenizer(std::vector<PretokenizerStep> steps);

  /// Whether a text may be cut into pieces as `ReaderOptions::piece_bytes` says.
  bool cuttable() const { return kind_ == Kind::pattern && patterns_[0]->cuttable(); }

  /// The words of one text after another; for one thread. A word stays where it is until the next
  /// start().
  class Words {
   public:
    explicit Words(const Pretokenizer& pretokenizer);

    /// Starts on `text`, which must stay where it is. `first`: it is the beginning of what is
    /// encoded, with no added token in front.
    void start(std::string_view text, bool first);
    /// The next word; false at the end.
    bool next(std::string_view& word);

   private:
    struct Word {
      std::string_view text;
      bool first = false;
    };
    void cut_all();
    void apply(std::size_t step);
    void split(const SplitStep& step, Regex::Matcher& matcher, const Word& word,
               std::vector<Word>& out);
    void metaspace(const MetaspaceStep& step, const Word& word, std::vector<Word>& out);
    std::string_view keep(std::string text);

    const Pretokenizer* owner_;
    std::vector<std::unique_ptr<WordPattern::Words>> patterns_;  // by step
    std::vector<std::unique_ptr<Regex::Matcher>> matchers_;      // by step
    std::vector<Word> words_;
    std::size_t next_ = 0;
    std::vector<std::unique_ptr<std::string>> kept_;  // texts that steps made
  };

 private:
  enum class Kind { whole, pattern, steps };

  std::vector<PretokenizerStep> steps_;
  Kind kind_;
  std::vector<std::unique_ptr<WordPattern>> patterns_;  // by step; null but for PatternStep
  std::vector<std::unique_ptr<Regex>> regexes_;         // by step; null but for SplitStep
};

}  // namespace bessemer::data
