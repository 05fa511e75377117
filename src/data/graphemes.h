// Extended grapheme clusters (Unicode Standard Annex #29), as of kUnicodeOfRust.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace bessemer::data {

/// The ends of the clusters of `text`, valid UTF-8.
std::vector<std::size_t> grapheme_ends(std::string_view text);

}  // namespace bessemer::data
