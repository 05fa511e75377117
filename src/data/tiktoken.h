// tiktoken's rank files: a token in base64 and its rank on each line.
//
// Such a file says neither how text is cut into words nor which special tokens there are: both
// follow from the encoding. Which one it is, the file's name says (the longest name of an encoding
// in it: r50k_base, p50k_base, cl100k_base, o200k_base, llama3 or llama-3, qwen); else the number
// of ranks, where it is that of a published encoding; else the file is refused.
#pragma once

#include <string>
#include <string_view>

#include "data/tokenizer.h"

namespace bessemer::data {

struct Tiktoken {
  std::string encoding;  // one of the names above
  Tokenizer tokenizer;
};

/// From the bytes of a file; `name` is its name, for the rule and for messages. InputError names it
/// and the line.
Tiktoken parse_tiktoken(std::string_view text, const std::string& name);

/// Whether a file that begins so can be one of ranks.
bool looks_like_tiktoken(std::string_view text);

}  // namespace bessemer::data
