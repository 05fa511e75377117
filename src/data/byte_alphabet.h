// GPT-2's alphabet: a printable character for each byte, so that a vocabulary of byte strings can
// stand in a JSON file. 188 bytes that are printable in Latin-1 stand for themselves, the others
// follow from U+0100 in order (Radford et al., 2019, `bytes_to_unicode`).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bessemer::data {

/// The bytes in order of their characters: the order of ids in a trained vocabulary.
const std::array<std::uint8_t, 256>& bytes_in_alphabet_order();

/// The characters of `bytes`, as UTF-8.
std::string to_alphabet(std::string_view bytes);

/// The inverse; nothing where `text` has a character outside the alphabet.
std::optional<std::string> from_alphabet(std::string_view text);

}  // namespace bessemer::data
