// A tokenizer as a file of any kind that is read: `tokenizer.json` (Hugging Face),
// `tokenizer.model` (SentencePiece; Llama 3's is one of tiktoken's) or NAME.tiktoken. What the file
// holds decides, not its name.
//
// Runs, checkpoints and exports keep the file itself, so that what reads it later is what read it
// at first.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "data/tokenizer.h"

namespace bessemer::data {

/// InputError names the file, the place in it and what is wrong.
Tokenizer load_tokenizer(const std::filesystem::path& path);

/// The same from bytes; `name` is for messages and, with tiktoken's, for the encoding.
Tokenizer parse_tokenizer(std::string_view bytes, const std::string& name);

/// The tokenizer's file in a directory: tokenizer.json, tokenizer.model or the only *.tiktoken, in
/// this order.
std::optional<std::filesystem::path> find_tokenizer(const std::filesystem::path& directory);

/// The name under which directories keep such a file, so that find_tokenizer finds it:
/// "tokenizer.json", "tokenizer.model" or "ENCODING.tiktoken".
std::string kept_tokenizer_name(const std::filesystem::path& path);

/// Copies the file into `directory` under that name, in place of any other tokenizer there. Returns
/// the copy's path.
std::filesystem::path keep_tokenizer(const std::filesystem::path& path,
                                     const std::filesystem::path& directory);

}  // namespace bessemer::data
