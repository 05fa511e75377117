// The first part of a tokenizer: what is done to a text, as a whole, before anything else.
//
// The steps are those of a `tokenizer.json` (Hugging Face's names and rules) and SentencePiece's
// own normalizer, which a `tokenizer.model` asks for.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "data/charsmap.h"
#include "data/literal_set.h"
#include "data/regex.h"
#include "data/unicode_form.h"

namespace bessemer::data {

struct PrependStep {
  std::string text;  // in front of what is not empty
};
/// All matches of a literal or of a pattern become `content`.
struct ReplaceStep {
  std::string literal;  // or, where empty,
  std::string pattern;
  std::string content;
};
struct StripStep {
  bool left = true, right = true;
};
struct LowercaseStep {};
struct StripAccentsStep {};  // drops marks
struct NmtStep {};           // drops control characters, makes odd white space a space
struct CharsmapStep {
  std::shared_ptr<const Charsmap> charsmap;
};
/// SentencePiece's Normalizer::Normalize.
struct SentencePieceStep {
  std::shared_ptr<const Charsmap> charsmap;  // null: no replacements
  std::vector<std::string> user_defined;     // pieces that stay as they are
  bool remove_extra_spaces = true;
  bool escape_spaces = true;  // as U+2581
  enum class DummySpace { none, prefix, suffix } dummy_space = DummySpace::prefix;
};

using NormalizerStep = std::variant<UnicodeForm, PrependStep, ReplaceStep, StripStep, LowercaseStep,
                                    StripAccentsStep, NmtStep, CharsmapStep, SentencePieceStep>;

/// Immutable; for any number of threads.
class Normalizer {
 public:
  /// InputError for a broken pattern.
  explicit Normalizer(std::vector<NormalizerStep> steps);

  bool empty() const { return steps_.empty(); }

  /// Whether the parts of a text that is cut after a newline are normalized to the parts of the
  /// normalized text.
  bool cuttable() const;

  /// `text` must be valid UTF-8, but where SentencePiece's step is the first. Where `front_dropped`
  /// is given, it is set if the beginning of the text is no longer there ("first" of a Metaspace
  /// step asks).
  std::string normalize(std::string_view text, bool* front_dropped = nullptr) const;

 private:
  std::vector<NormalizerStep> steps_;
  std::vector<std::unique_ptr<Regex>> patterns_;       // by step; null but for patterns
  std::vector<std::unique_ptr<LiteralSet>> literals_;  // by step; the user-defined pieces
};

}  // namespace bessemer::data
