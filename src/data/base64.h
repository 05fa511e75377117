// Base64 (RFC 4648), as tiktoken's files and charsmaps in JSON have it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace bessemer::data {

/// Nothing where `text` is not base64 with its padding.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace bessemer::data
