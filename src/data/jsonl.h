// One line of a JSONL corpus: finds the text or the conversation of a document in it.
//
// Own scanner rather than a JSON library, because a corpus is bytes: what stands in a string is
// kept as it is, invalid UTF-8 and control characters included, where a library refuses the line.
// Structure (braces, commas, literals, numbers, escapes) is checked in full.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/chat.h"

namespace bessemer::data {

/// Where and why a line is not what it should be. `place` counts bytes from 0.
struct JsonLineError {
  std::size_t place = 0;
  std::string message;
};

/// Objects and arrays nest at most so deep.
inline constexpr std::size_t kJsonDepth = 256;

/// Reads the JSON object in `line` and puts the string under its top-level `key` in `text` (the
/// first where there are several). A lone surrogate escape becomes U+FFFD. Throws JsonLineError.
void read_json_text(std::string_view line, std::string_view key, std::string& text);

inline constexpr std::string_view kMessagesKey = "messages";

/// Reads the array under the top-level "messages": objects with the strings "role" and "content".
/// Throws JsonLineError.
void read_json_messages(std::string_view line, std::vector<Message>& messages);

/// The top-level keys of a JSON object; nothing where the line is none.
std::optional<std::vector<std::string>> json_keys(std::string_view line);

}  // namespace bessemer::data
