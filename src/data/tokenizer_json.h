// Hugging Face's `tokenizer.json`.
//
// Read: byte-level BPE (GPT-2, Llama 3, Qwen and kin), BPE over characters with byte fallback
// (Llama 2, Mistral, Gemma), Unigram (T5, XLM-R); the normalizers, pre-tokenizers and decoders that
// these families use; added tokens with all their flags. Whatever else the file asks for is refused
// with its JSON path: ids would differ from the original's.
//
// Written: what the BPE trainer makes, with merges as "a b", which every version of `tokenizers`
// reads. Tokenizers that came as a file are kept as that file (tokenizer_file.h).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "data/tokenizer.h"

namespace bessemer::data {

/// From the bytes of a file; `name` is for messages. InputError names it and the JSON path.
Tokenizer parse_tokenizer_json(std::string_view json, const std::string& name);

/// For byte-level BPE with no more than one pattern and no normalizer; Error for any other.
std::string to_tokenizer_json(const Tokenizer& tokenizer);

/// Written whole or not at all.
void save_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& path);

}  // namespace bessemer::data
