// Patterns of Oniguruma (in Ruby's syntax, as `tokenizers` has it) in PCRE2's syntax. Most of it is
// the same; what is not is written in other words, or refused.
#pragma once

#include <string>
#include <string_view>

namespace bessemer::data {

/// To be compiled with PCRE2_UTF, PCRE2_UCP and PCRE2_MULTILINE. InputError for what has no
/// counterpart.
std::string from_oniguruma(std::string_view pattern);

}  // namespace bessemer::data
