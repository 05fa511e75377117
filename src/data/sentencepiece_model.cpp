#include "data/sentencepiece_model.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <functional>
#include <memory>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "data/protobuf_fields.h"
#include "data/unicode_form.h"

namespace bessemer::data {
namespace {

// Field numbers and defaults are those of sentencepiece_model.proto.

enum class PieceType { normal = 1, unknown, control, user_defined, unused, byte };

struct Piece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;
};

enum ModelType : std::uint64_t { kUnigram = 1, kBpe = 2 };

struct File {
  std::vector<Piece> pieces;
  std::uint64_t model_type = kUnigram;
  bool whitespace_as_suffix = false;
  bool byte_fallback = false;
  std::string end_piece = "</s>";
  std::string unknown_surface = " \u2047 ";
  std::string charsmap;
  bool dummy_prefix = true;
  bool remove_extra_spaces = true;
  bool escape_spaces = true;
  bool denormalizes = false;
};

Piece read_piece(ProtobufFields fields) {
  Piece piece;
  while (fields.next()) {
    if (fields.number() == 1) piece.text = fields.text();
    if (fields.number() == 2) piece.score = fields.real();
    if (fields.number() == 3) {
      require_input(fields.integer() >= 1 && fields.integer() <= 6,
                    "a piece of the unknown type {}", fields.integer());
      piece.type = static_cast<PieceType>(fields.integer());
    }
  }
  return piece;
}

void read_trainer(ProtobufFields fields, File& file) {
  while (fields.next()) {
    switch (fields.number()) {
      case 3: file.model_type = fields.integer(); break;
      case 24: file.whitespace_as_suffix = fields.flag(); break;
      case 35: file.byte_fallback = fields.flag(); break;
      case 44: file.unknown_surface = fields.text(); break;
      case 47: file.end_piece = fields.text(); break;
      default: break;
    }
  }
}

void read_normalizer(ProtobufFields fields, File& file) {
  while (fields.next()) {
    switch (fields.number()) {
      case 2: file.charsmap = fields.text(); break;
      case 3: file.dummy_prefix = fields.flag(); break;
      case 4: file.remove_extra_spaces = fields.flag(); break;
      case 5: file.escape_spaces = fields.flag(); break;
      default: break;
    }
  }
}

File read_file(std::string_view bytes) {
  File file;
  ProtobufFields fields(bytes);
  while (fields.next()) {
    switch (fields.number()) {
      case 1: file.pieces.push_back(read_piece(fields.message())); break;
      case 2: read_trainer(fields.message(), file); break;
      case 3: read_normalizer(fields.message(), file); break;
      case 5: {
        File denormalizer;
        read_normalizer(fields.message(), denormalizer);
        file.denormalizes = !denormalizer.charsmap.empty();
        break;
      }
      default: break;
    }
  }
  return file;
}

void check(const File& file) {
  require_input(!file.pieces.empty(), "no pieces: this is no SentencePiece model");
  require_input(file.model_type == kUnigram || file.model_type == kBpe,
                "a model of type {}, expected Unigram (1) or BPE (2)", file.model_type);
  require_input(!file.denormalizes, "rules for denormalization are not supported");
  std::unordered_set<std::string_view> seen;
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    const Piece& piece = file.pieces[id];
    require_input(!piece.text.empty() && is_valid_utf8(piece.text),
                  "piece {} is empty or not UTF-8; fetch the file again", id);
    require_input(seen.insert(piece.text).second, "piece {}, {:?}, is there twice", id, piece.text);
    require_input(std::isfinite(piece.score), "piece {}, {:?}, has the score {}", id, piece.text,
                  piece.score);
    const bool byte = piece.type == PieceType::byte;
    require_input(!byte || (file.byte_fallback && byte_of_piece(piece.text)),
                  "piece {}, {:?}, is of the type byte", id, piece.text);
    require_input(file.model_type != kBpe || piece.type != PieceType::unused,
                  "piece {}, {:?}, is unused, which is not supported in a BPE model", id,
                  piece.text);
  }
  for (int byte = 0; file.byte_fallback && byte < 256; ++byte) {
    const std::string text = piece_of_byte(static_cast<std::uint8_t>(byte));
    require_input(seen.contains(text), "byte_fallback without a piece {}", text);
  }
}

bool is_text(PieceType type) {
  return type == PieceType::normal || type == PieceType::user_defined || type == PieceType::unused;
}

SentencePieceDecoder::Kind decoder_kind(PieceType type) {
  using Kind = SentencePieceDecoder::Kind;
  switch (type) {
    case PieceType::unknown: return Kind::unknown;
    case PieceType::control: return Kind::control;
    case PieceType::byte: return Kind::byte;
    default: return Kind::normal;
  }
}

SentencePieceStep normalizer_of(const File& file) {
  using DummySpace = SentencePieceStep::DummySpace;
  SentencePieceStep step;
  if (!file.charsmap.empty()) step.charsmap = std::make_shared<const Charsmap>(file.charsmap);
  step.remove_extra_spaces = file.remove_extra_spaces;
  step.escape_spaces = file.escape_spaces;
  if (!file.dummy_prefix) {
    step.dummy_space = DummySpace::none;
  } else {
    step.dummy_space = file.whitespace_as_suffix ? DummySpace::suffix : DummySpace::prefix;
  }
  for (const Piece& piece : file.pieces) {
    if (piece.type == PieceType::user_defined) step.user_defined.push_back(piece.text);
  }
  return step;
}

/// Ranks by score, the highest first; pieces of one score have one rank.
std::vector<std::int32_t> ranks_of(const File& file) {
  std::vector<float> scores;
  for (const Piece& piece : file.pieces) {
    if (is_text(piece.type)) scores.push_back(piece.score);
  }
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  std::vector<std::int32_t> ranks;
  for (const Piece& piece : file.pieces) {
    const auto place =
        std::lower_bound(scores.begin(), scores.end(), piece.score, std::greater<>());
    ranks.push_back(is_text(piece.type) ? static_cast<std::int32_t>(place - scores.begin()) : -1);
  }
  return ranks;
}

Unigram unigram_of(const File& file, std::int32_t unknown) {
  constexpr float kUnknownPenalty = 10;
  float lowest = FLT_MAX, highest = FLT_MIN;  // FLT_MIN as in the original
  for (const Piece& piece : file.pieces) {
    if (piece.type != PieceType::normal) continue;
    lowest = std::min(lowest, piece.score);
    highest = std::max(highest, piece.score);
  }
  Unigram unigram;
  unigram.unknown = unknown;
  unigram.byte_fallback = file.byte_fallback;
  unigram.arithmetic = Unigram::Arithmetic::sentence_piece;
  unigram.unknown_score = lowest - kUnknownPenalty;
  for (const Piece& piece : file.pieces) {
    const auto bonus = static_cast<float>(static_cast<float>(piece.text.size()) * highest - 0.1);
    unigram.scores.push_back(piece.type == PieceType::user_defined ? bonus : piece.score);
    unigram.searchable.push_back(is_text(piece.type) && piece.type != PieceType::unused);
  }
  return unigram;
}

std::int32_t unknown_of(const File& file) {
  const auto unknown = [](const Piece& piece) { return piece.type == PieceType::unknown; };
  const auto found = std::find_if(file.pieces.begin(), file.pieces.end(), unknown);
  require_input(found != file.pieces.end() && std::none_of(found + 1, file.pieces.end(), unknown),
                "expected exactly one piece of the type unknown");
  return static_cast<std::int32_t>(found - file.pieces.begin());
}

TokenizerModel model_of(const File& file) {
  check(file);
  const std::int32_t unknown = unknown_of(file);
  TokenizerModel model;
  model.normalizer = {normalizer_of(file)};
  model.pretokenizer.clear();
  SentencePieceDecoder decoder;
  decoder.unknown_surface = file.unknown_surface;
  decoder.drops_first_space = file.dummy_prefix || file.remove_extra_spaces;
  decoder.drops_all_first_spaces = file.remove_extra_spaces;
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    const Piece& piece = file.pieces[id];
    const bool byte = piece.type == PieceType::byte;
    model.tokens.push_back({surface_of_piece(piece.text, byte), false, piece.text});
    decoder.kinds.push_back(decoder_kind(piece.type));
    const bool ends = piece.type == PieceType::control && piece.text == file.end_piece;
    if (ends) model.end_of_text = static_cast<std::int32_t>(id);
  }
  model.decoder = std::move(decoder);
  if (file.model_type == kUnigram) {
    model.subwords = unigram_of(file, unknown);
    return model;
  }
  PieceBpe pieces;
  pieces.unknown = unknown;
  pieces.byte_fallback = file.byte_fallback;
  pieces.user_defined = std::get<SentencePieceStep>(model.normalizer.front()).user_defined;
  model.ranks = ranks_of(file);
  model.subwords = std::move(pieces);
  return model;
}

}  // namespace

Tokenizer parse_sentencepiece_model(std::string_view bytes, const std::string& name) {
  try {
    return Tokenizer(model_of(read_file(bytes)));
  } catch (const InputError& error) {
    fail_input("{}: as a SentencePiece model: {}", name, error.what());
  }
}

}  // namespace bessemer::data
