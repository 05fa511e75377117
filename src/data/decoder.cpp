#include "data/decoder.h"

#include <charconv>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "data/tokenizer_model.h"
#include "data/unicode_form.h"

namespace bessemer::data {
namespace {

constexpr std::string_view kReplacementText = "\uFFFD";
constexpr std::string_view kSpaceSymbol = "\u2581";

using Texts = std::vector<std::string>;

std::string replace_all(std::string_view text, std::string_view what, std::string_view by) {
  std::string out;
  std::size_t at = 0;
  for (std::size_t next; (next = text.find(what, at)) != text.npos; at = next + what.size()) {
    out.append(text, at, next - at) += by;
  }
  return out.append(text, at);
}

void append_bytes(const std::string& bytes, std::string& out) {
  if (is_valid_utf8(bytes)) {
    out += bytes;
  } else {
    for (std::size_t i = 0; i < bytes.size(); ++i) out += kReplacementText;
  }
}

/// Each byte that is part of no character becomes U+FFFD (SentencePiece, unlike Hugging Face).
void append_valid(const std::string& bytes, std::string& out) { out += to_valid_utf8(bytes); }

Texts byte_fallback(Texts texts) {
  Texts out;
  std::string bytes;
  const auto flush = [&] {
    if (!bytes.empty()) append_bytes(std::exchange(bytes, {}), out.emplace_back());
  };
  for (std::string& text : texts) {
    if (const auto byte = byte_of_piece(text)) {
      bytes.push_back(static_cast<char>(*byte));
      continue;
    }
    flush();
    out.push_back(std::move(text));
  }
  flush();
  return out;
}

std::string strip(const StripTokensStep& step, std::string_view text) {
  for (std::size_t n = 0; n < step.left && text.starts_with(step.character); ++n) {
    text.remove_prefix(step.character.size());
  }
  for (std::size_t n = 0; n < step.right && text.ends_with(step.character); ++n) {
    text.remove_suffix(step.character.size());
  }
  return std::string(text);
}

std::string join(const Texts& texts, std::string_view between = {}) {
  std::string out;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) out += between;
    out += texts[i];
  }
  return out;
}

Texts apply(const DecoderStep& any, Texts texts) {
  const auto visit = [&](const auto& step) -> Texts {
    using Step = std::decay_t<decltype(step)>;
    if constexpr (std::is_same_v<Step, ByteFallbackStep>) {
      return byte_fallback(std::move(texts));
    } else if constexpr (std::is_same_v<Step, FuseStep>) {
      return {join(texts)};
    } else {
      for (std::size_t i = 0; i < texts.size(); ++i) {
        if constexpr (std::is_same_v<Step, ReplaceTokensStep>) {
          texts[i] = replace_all(texts[i], step.literal, step.content);
        } else if constexpr (std::is_same_v<Step, StripTokensStep>) {
          texts[i] = strip(step, texts[i]);
        } else {
          const bool drop = i == 0 && step.drops_first;
          texts[i] = replace_all(texts[i], step.replacement, drop ? "" : " ");
        }
      }
      return std::move(texts);
    }
  };
  return std::visit(visit, any);
}

std::string text_of(const Token& token) { return token.piece.empty() ? token.bytes : token.piece; }

std::string decode_steps(const StepsDecoder& decoder, const std::vector<Token>& tokens,
                         std::span<const std::int32_t> ids) {
  Texts texts;
  for (const std::int32_t id : ids) texts.push_back(text_of(tokens[static_cast<std::size_t>(id)]));
  for (const DecoderStep& step : decoder.steps) texts = apply(step, std::move(texts));
  return join(texts, decoder.spaces_between ? " " : "");
}

std::string decode_sentence_piece(const SentencePieceDecoder& decoder,
                                  const std::vector<Token>& tokens,
                                  std::span<const std::int32_t> ids) {
  using Kind = SentencePieceDecoder::Kind;
  std::string out, bytes;
  bool at_front = true, dropped = false;
  for (const std::int32_t id : ids) {
    const Token& token = tokens[static_cast<std::size_t>(id)];
    const Kind kind = decoder.kinds[static_cast<std::size_t>(id)];
    if (kind == Kind::byte) {
      bytes += token.bytes;
      continue;
    }
    append_valid(std::exchange(bytes, {}), out);
    if (dropped || !out.empty()) at_front = false;
    dropped = false;
    if (kind == Kind::unknown) out += decoder.unknown_surface;
    if (kind != Kind::normal) continue;
    std::string_view piece = token.piece;
    if (at_front && decoder.drops_first_space && piece.starts_with(kSpaceSymbol)) {
      piece.remove_prefix(kSpaceSymbol.size());
      dropped = !decoder.drops_all_first_spaces;
    }
    out += replace_all(piece, kSpaceSymbol, " ");
  }
  append_valid(bytes, out);
  return out;
}

}  // namespace

std::optional<std::uint8_t> byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') return std::nullopt;
  std::uint8_t byte = 0;
  const auto [stop, code] = std::from_chars(piece.data() + 3, piece.data() + 5, byte, 16);
  if (code != std::errc() || stop != piece.data() + 5) return std::nullopt;
  return byte;
}

std::string piece_of_byte(std::uint8_t byte) { return fmt::format("<0x{:02X}>", byte); }

std::string surface_of_piece(std::string_view piece, bool byte_fallback) {
  const auto byte = byte_fallback ? byte_of_piece(piece) : std::nullopt;
  return byte ? std::string(1, static_cast<char>(*byte)) : replace_all(piece, kSpaceSymbol, " ");
}

std::string decode(const Decoder& decoder, const std::vector<Token>& tokens,
                   std::span<const std::int32_t> ids) {
  const auto visit = [&](const auto& kind) -> std::string {
    using Kind = std::decay_t<decltype(kind)>;
    if constexpr (std::is_same_v<Kind, StepsDecoder>) {
      return decode_steps(kind, tokens, ids);
    } else if constexpr (std::is_same_v<Kind, SentencePieceDecoder>) {
      return decode_sentence_piece(kind, tokens, ids);
    } else {
      std::string out;
      for (const std::int32_t id : ids) out += tokens[static_cast<std::size_t>(id)].bytes;
      return out;
    }
  };
  return std::visit(visit, decoder);
}

}  // namespace bessemer::data
