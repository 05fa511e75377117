// Cuts text into the words that byte-pair encoding works within.
//
// The patterns of GPT-2 (Radford et al., 2019), Llama 3 and Qwen 2 have hand-written scanners that
// cut exactly as PCRE2 does; any other pattern runs in PCRE2. Words in order are the whole text:
// what a pattern leaves out becomes words too (Hugging Face's "Isolated").
//
// Bytes that are not UTF-8: each maximal run of them is a word, and the valid text on either side
// is cut as if it stood alone. So any bytes at all are covered.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "data/regex.h"
#include "data/unicode_class.h"

namespace bessemer::data {

inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
/// tiktoken's cl100k_base: as Llama 3, but white space that ends a text is one word.
inline constexpr std::string_view kCl100kPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z|\s*[\r\n]+|\s+(?!\S)|\s+)";
/// tiktoken's o200k_base. It has no scanner of its own.
inline constexpr std::string_view kO200kPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

class WordPattern {
 public:
  enum class Engine { automatic, pcre2 };  // pcre2: no hand-written scanner, for comparison

  /// An empty pattern cuts nothing: each text is one word. InputError for a broken pattern.
  explicit WordPattern(std::string pattern, Engine engine = Engine::automatic,
                       UnicodeVersion unicode = kUnicodeOfPatterns);

  const std::string& pattern() const { return pattern_; }

  /// Whether a text may be cut into pieces as `ReaderOptions::piece_bytes` says.
  bool cuttable() const {
    return (scanner_ != Scanner::none && scanner_ != Scanner::pcre2) || pattern_ == kO200kPattern;
  }

  /// The words of one text after another; for one thread.
  class Words {
   public:
    explicit Words(const WordPattern& pretokenizer);

    /// Starts on `text`, which must stay where it is.
    void start(std::string_view text);
    /// The next word; false at the end.
    bool next(std::string_view& word);

   private:
    std::size_t next_match();

    const WordPattern* owner_;
    std::unique_ptr<Regex::Matcher> matcher_;
    std::string_view text_;
    std::size_t at_ = 0;
    std::size_t valid_begin_ = 0, valid_end_ = 0;  // PCRE2: the valid UTF-8 around at_
    std::size_t match_end_ = 0;                    // PCRE2: a match found behind a gap
  };

 private:
  enum class Scanner { none, gpt2, llama3, qwen2, cl100k, pcre2 };

  std::string pattern_;
  Scanner scanner_;
  std::unique_ptr<Regex> regex_;
  const UnicodeClasses* classes_;
};

}  // namespace bessemer::data
