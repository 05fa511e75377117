// The last part of a tokenizer: tokens back to text.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bessemer::data {

struct Token;

/// The bytes of all tokens, one after another: byte-level BPE.
struct BytesDecoder {};

// Steps of a `tokenizer.json`, with Hugging Face's names and rules. Each works on the list of
// tokens.
struct ReplaceTokensStep {  // in each token
  std::string literal, content;
};
struct ByteFallbackStep {
};                        // runs of <0x..> become their text, or U+FFFD for each if it is not UTF-8
struct FuseStep {};       // all tokens become one
struct StripTokensStep {  // of each token, up to so many of a character at its ends
  std::string character;
  std::size_t left = 0, right = 0;
};
struct MetaspaceTokensStep {  // the replacement is a space again; in the first token it goes
  std::string replacement{"\u2581"};
  bool drops_first = true;
};
using DecoderStep = std::variant<ReplaceTokensStep, ByteFallbackStep, FuseStep, StripTokensStep,
                                 MetaspaceTokensStep>;
struct StepsDecoder {
  std::vector<DecoderStep> steps;
  bool spaces_between = false;  // a file without a decoder: tokens, with spaces between
};

/// SentencePieceProcessor::Decode.
struct SentencePieceDecoder {
  enum class Kind : std::uint8_t { normal, unknown, control, byte };
  std::vector<Kind> kinds;  // by id
  std::string unknown_surface;
  bool drops_first_space = true;  // of the text
  bool drops_all_first_spaces = false;
};

using Decoder = std::variant<BytesDecoder, StepsDecoder, SentencePieceDecoder>;

/// The text of `ids`, all of them tokens.
std::string decode(const Decoder& decoder, const std::vector<Token>& tokens,
                   std::span<const std::int32_t> ids);

/// The byte that a piece `<0x..>` stands for.
std::optional<std::uint8_t> byte_of_piece(std::string_view piece);

/// What a piece stands for inside a text: U+2581 is a space and, with `byte_fallback`, <0x..> a
/// byte.
std::string surface_of_piece(std::string_view piece, bool byte_fallback);

/// The piece of a byte: "<0x0A>".
std::string piece_of_byte(std::uint8_t byte);

}  // namespace bessemer::data
