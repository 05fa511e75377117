// What Unicode says of text beyond the classes that patterns ask about: normalization forms, marks,
// lower case, grapheme clusters. By ICU.
//
// Hugging Face's normalization forms and marks are those of Unicode 9 (the tables of its crate):
// characters that are younger stay as they are here too. Lower case follows ICU's own version.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bessemer::data {

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };

/// `text`, which must be valid UTF-8, in the form.
std::string to_form(UnicodeForm form, std::string_view text);

/// General category M.
bool is_mark(char32_t rune);

/// Appends the lower case of one character, whatever stands around it.
void append_lowercase(std::string& out, char32_t rune);

/// The ends of the extended grapheme clusters of `text`, valid UTF-8.
std::vector<std::size_t> grapheme_ends(std::string_view text);

bool is_ascii(std::string_view text);

/// `text` with each byte that is not part of well-formed UTF-8 as U+FFFD.
std::string to_valid_utf8(std::string_view text);
bool is_valid_utf8(std::string_view text);

}  // namespace bessemer::data
