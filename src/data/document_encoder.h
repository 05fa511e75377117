// A document's text as tokens, and which of them are trained.
//
// The frames of a chat template become the ids of the added tokens in them; all text between two
// such markers, frame and content alike, is encoded as one, so that the ids are those of Hugging
// Face's tokenizer for the rendered conversation. Contents never give an added token: whoever
// writes "<|im_end|>" in a message gets its letters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/chat.h"
#include "data/tokenizer.h"

namespace bessemer::data {

struct EncodedDocument {
  std::vector<std::int32_t> ids;
  std::vector<std::uint8_t> trained;  // by token, 0 or 1; empty: all are
};

/// For one thread. Refers to its tokenizer.
class DocumentEncoder {
 public:
  explicit DocumentEncoder(const Tokenizer& tokenizer)
      : tokenizer_(&tokenizer), encoder_(tokenizer) {}

  /// Replaces `out`. `added` is for documents without spans. A token across the border of what is
  /// trained is trained: white space that a template ends with may be a part of the first word.
  void encode(std::string_view text, const std::vector<TextSpan>& spans, AddedTokens added,
              EncodedDocument& out);

 private:
  void add_frame(std::string_view text, bool trained, EncodedDocument& out);
  void add_text(std::string_view text, bool trained);
  void flush(EncodedDocument& out);
  void flush_in_parts(EncodedDocument& out);
  std::pair<std::size_t, const AddedToken*> find_marker(std::string_view text) const;

  const Tokenizer* tokenizer_;
  Encoder encoder_;
  std::string run_;                                 // text since the last marker ...
  std::vector<std::pair<std::size_t, bool>> ends_;  // ... where its parts end, and their kinds
};

}  // namespace bessemer::data
