// Tokens that are found in a text before it is cut into words: special ones and others that were
// added to a vocabulary. Hugging Face's rules.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/literal_set.h"

namespace bessemer::data {

struct AddedToken {
  std::int32_t id = 0;
  std::string content;       // UTF-8
  bool special = true;       // marks structure rather than text
  bool normalized = false;   // is looked for, normalized, in the normalized text
  bool strip_left = false;   // takes the white space in front with it
  bool strip_right = false;  // ... and behind
  bool single_word = false;  // only where no word character stands beside it
};

/// The added tokens of one round (those that are normalized, or those that are not).
class AddedTokenSet {
 public:
  /// `content` is what is looked for. False where it is there already.
  bool insert(const AddedToken& token, std::string_view content);

  bool empty() const { return literals_.empty(); }

  /// A part of a text: an added token or, id -1, text between two.
  struct Part {
    std::size_t begin = 0, end = 0;
    std::int32_t id = -1;
  };
  /// Appends the parts of `text`, none of them empty: leftmost matches, the longest of several.
  void split(std::string_view text, std::vector<Part>& parts) const;

  /// The id by what is looked for; -1: none.
  std::int32_t find(std::string_view content) const;

 private:
  bool widen(const AddedToken& token, std::string_view text, std::size_t given, Part& part) const;

  LiteralSet literals_;  // to places in tokens_
  std::vector<AddedToken> tokens_;
};

}  // namespace bessemer::data
