// Hugging Face's `tokenizer.json`, of the byte-level BPE kind: GPT-2's (ByteLevel with its own
// pattern), Llama 3's (Split by a pattern, then ByteLevel) and what lies between.
//
// Read: merges as "a b" or ["a", "b"], added tokens, ignore_merges. Refused with the JSON path and
// the reason: other models (WordPiece, Unigram, SentencePiece's byte_fallback), normalizers,
// prefix spaces and added tokens that swallow spaces, since those do not give the text back.
// Written: merges as "a b", which every version of `tokenizers` reads, with the same ids.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "data/tokenizer.h"

namespace bessemer::data {

/// InputError names the file and the JSON path.
Tokenizer load_tokenizer(const std::filesystem::path& path);

/// The same from bytes; `name` is for messages.
Tokenizer parse_tokenizer_json(std::string_view json, const std::string& name);

std::string to_tokenizer_json(const Tokenizer& tokenizer);

/// Written whole or not at all.
void save_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& path);

}  // namespace bessemer::data
