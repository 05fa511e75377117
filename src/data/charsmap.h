// SentencePiece's precompiled table of replacements (Kudo and Richardson, EMNLP 2018): a
// double-array trie in darts-clone's layout whose leaves are places in a list of NUL-terminated
// replacements.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bessemer::data {

class Charsmap {
 public:
  /// From the bytes in a `tokenizer.model` or, decoded from base64, in a `tokenizer.json`.
  /// InputError where they cannot be such a table.
  explicit Charsmap(std::string_view bytes);

  struct Match {
    std::size_t length = 0;  // bytes of the text; 0: no rule
    std::string_view replacement;
  };
  /// The longest rule that `text` begins with.
  Match longest(std::string_view text) const { return find(text, Want::longest); }
  /// The shortest.
  Match shortest(std::string_view text) const { return find(text, Want::shortest); }

  /// `text`, valid UTF-8, as Hugging Face's `Precompiled` has it: each grapheme cluster of less
  /// than six bytes by its shortest rule, where it has one, else each character by its.
  std::string by_graphemes(std::string_view text) const;

 private:
  enum class Want { shortest, longest };
  Match find(std::string_view text, Want want) const;
  void append_graphemes(std::string& out, std::string_view text) const;
  void append_grapheme(std::string& out, std::string_view grapheme) const;

  std::vector<std::uint32_t> units_;
  std::string replacements_;  // ends with a NUL
};

}  // namespace bessemer::data
