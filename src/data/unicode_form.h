// What Unicode says of text beyond the classes that patterns ask about: normalization forms, marks,
// lower case. By ICU, of the versions that Hugging Face's library has (unicode_version.h): what is
// younger stays as it is.
#pragma once

#include <string>
#include <string_view>

namespace bessemer::data {

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };

/// `text`, which must be valid UTF-8, in the form of kUnicodeOfForms.
std::string to_form(UnicodeForm form, std::string_view text);

/// General category M, in kUnicodeOfForms.
bool is_mark(char32_t rune);

/// Appends the lower case, in kUnicodeOfRust, of one character, whatever stands around it.
void append_lowercase(std::string& out, char32_t rune);

bool is_ascii(std::string_view text);

/// `text` with each byte that is not part of well-formed UTF-8 as U+FFFD.
std::string to_valid_utf8(std::string_view text);
bool is_valid_utf8(std::string_view text);

}  // namespace bessemer::data
