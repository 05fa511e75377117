#include "data/byte_alphabet.h"

#include <algorithm>
#include <numeric>

#include "data/utf8.h"

namespace bessemer::data {
namespace {

constexpr char32_t kEnd = 0x100 + 68;  // one past the last character of the alphabet

struct Alphabet {
  std::array<char32_t, 256> rune_of{};
  std::array<int, kEnd> byte_of{};  // -1: not in the alphabet
  std::array<std::uint8_t, 256> order{};

  Alphabet() {
    byte_of.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const char32_t rune = printable ? static_cast<char32_t>(byte) : next++;
      rune_of[static_cast<std::size_t>(byte)] = rune;
      byte_of[rune] = byte;
    }
    std::iota(order.begin(), order.end(), std::uint8_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::uint8_t a, std::uint8_t b) { return rune_of[a] < rune_of[b]; });
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

const std::array<std::uint8_t, 256>& bytes_in_alphabet_order() { return alphabet().order; }

std::string to_alphabet(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) append_utf8(text, alphabet().rune_of[static_cast<std::uint8_t>(c)]);
  return text;
}

std::optional<std::string> from_alphabet(std::string_view text) {
  std::string bytes;
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = p + text.size();
  while (p < end) {
    char32_t rune = 0;
    const int length = decode_utf8(p, end, rune);
    if (length == 0 || rune >= kEnd || alphabet().byte_of[rune] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(alphabet().byte_of[rune]));
    p += length;
  }
  return bytes;
}

}  // namespace bessemer::data
