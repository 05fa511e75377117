// BPE over characters, with bytes or an unknown token for those that are no pieces:
// SentencePiece's, and Hugging Face's reading of it.
#include <algorithm>
#include <array>
#include <iterator>
#include <unordered_set>

#include "base/error.h"
#include "data/decoder.h"
#include "data/literal_set.h"
#include "data/merge_rules.h"
#include "data/subword_model.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

constexpr std::string_view kSpaceSymbol = "\u2581";
// Symbols of characters that are no pieces (SentencePiece merges them all the same).
constexpr std::int32_t kUnknownRune = 0x40000000;

class PieceBpeModel final : public SubwordModel {
 public:
  PieceBpeModel(const TokenizerModel& model, std::shared_ptr<const TokenIndex> index)
      : index_(std::move(index)),
        spec_(std::get<PieceBpe>(model.subwords)),
        ranked_(!model.ranks.empty()) {
    for (std::size_t i = 0; ranked_ && i < model.ranks.size(); ++i) {
      if (model.ranks[i] < 0) reserved_.insert(static_cast<std::int32_t>(i));
    }
    for (int byte = 0; byte < 256; ++byte) {
      const std::int32_t id = index_->find(piece_of_byte(static_cast<std::uint8_t>(byte)));
      byte_id_[static_cast<std::size_t>(byte)] = spec_.byte_fallback ? id : -1;
    }
    for (const std::string& piece : spec_.user_defined) {
      user_defined_.insert(piece, index_->find(piece));
    }
    const auto symbol = [&](std::string_view text) { return symbol_of(text); };
    merges_ = ranked_ ? ranked_merges(model, symbol) : listed_merges(model, *index_);
    can_cut_ = can_cut_at_spaces(model);
  }

  void encode(std::string_view word, Scratch& scratch,
              std::vector<std::int32_t>& ids) const override {
    const std::int32_t whole = spec_.ignore_merges ? index_->find(word) : -1;
    if (whole >= 0) return ids.push_back(whole);
    if (!ranked_) return encode_listed(word, scratch, ids);
    const std::size_t first = ids.size();
    while (!word.empty()) {
      LiteralSet::Match kept;
      const std::size_t at = user_defined_.find(word, 0, kept);
      encode_ranked(word.substr(0, at), scratch, ids);
      if (kept.value >= 0) ids.push_back(kept.value);
      word.remove_prefix(at + kept.length);
    }
    resolve_unknown(ids, first);
  }

  std::size_t front(std::string_view text) const override {
    if (!can_cut_) return text.size();
    std::size_t at = 0;
    while (text.substr(at).starts_with(kSpaceSymbol)) at += kSpaceSymbol.size();
    return std::min(text.find(kSpaceSymbol, at), text.size());
  }

 private:
  /// Where no piece has U+2581 behind another character, no merge reaches over the front of a run
  /// of these, so that a text can be cut there.
  bool can_cut_at_spaces(const TokenizerModel& model) const {
    if (spec_.ignore_merges || index_->find(kSpaceSymbol) < 0) return false;
    return std::none_of(model.tokens.begin(), model.tokens.end(), [](const Token& token) {
      std::string_view piece = token.piece;
      while (piece.starts_with(kSpaceSymbol)) piece.remove_prefix(kSpaceSymbol.size());
      return piece.find(kSpaceSymbol) != piece.npos;
    });
  }

  /// A piece that text can become, or a single character.
  std::int32_t symbol_of(std::string_view text) const {
    const std::int32_t id = index_->find(text);
    if (id >= 0 && !reserved_.contains(id)) return id;
    char32_t rune = 0;
    const auto* p = reinterpret_cast<const unsigned char*>(text.data());
    const auto length = static_cast<std::size_t>(decode_utf8(p, p + text.size(), rune));
    return length == text.size() ? kUnknownRune | static_cast<std::int32_t>(rune) : -1;
  }

  template <typename Body>
  static void each_character(std::string_view text, const Body& body) {
    while (!text.empty()) {
      char32_t rune = 0;
      const auto* p = reinterpret_cast<const unsigned char*>(text.data());
      const int length = std::max(1, decode_utf8(p, p + text.size(), rune));
      body(text.substr(0, static_cast<std::size_t>(length)));
      text.remove_prefix(static_cast<std::size_t>(length));
    }
  }

  /// SentencePiece: what is unknown when nothing merges any more becomes bytes or the unknown
  /// token.
  void encode_ranked(std::string_view text, Scratch& scratch,
                     std::vector<std::int32_t>& ids) const {
    std::vector<std::int32_t>& tokens = scratch.tokens;
    tokens.clear();
    each_character(text, [&](std::string_view one) { tokens.push_back(symbol_of(one)); });
    scratch.merger.merge(merges_, tokens);
    ids.insert(ids.end(), tokens.begin(), tokens.end());
  }

  void resolve_unknown(std::vector<std::int32_t>& ids, std::size_t first) const {
    const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(first);
    const auto unknown = [](std::int32_t id) { return id >= kUnknownRune; };
    if (std::none_of(begin, ids.end(), unknown)) return;
    const std::vector<std::int32_t> symbols(begin, ids.end());
    ids.erase(begin, ids.end());
    bool after_unknown = false;
    for (const std::int32_t symbol : symbols) {
      if (!unknown(symbol)) {
        ids.push_back(symbol);
      } else if (spec_.byte_fallback) {
        std::string text;
        append_utf8(text, static_cast<char32_t>(symbol & ~kUnknownRune));
        append_bytes(text, ids);
      } else if (!after_unknown) {
        ids.push_back(*spec_.unknown);
      }
      after_unknown = unknown(symbol);
    }
  }

  void append_bytes(std::string_view text, std::vector<std::int32_t>& ids) const {
    for (const char c : text) ids.push_back(byte_id_[static_cast<unsigned char>(c)]);
  }
  bool has_bytes(std::string_view text) const {
    return std::all_of(text.begin(), text.end(),
                       [&](char c) { return byte_id_[static_cast<unsigned char>(c)] >= 0; });
  }

  /// Hugging Face: bytes and unknown tokens stand there before anything merges. An unknown token
  /// waits for the next known character, and bytes do not flush it.
  void encode_listed(std::string_view word, Scratch& scratch,
                     std::vector<std::int32_t>& ids) const {
    std::vector<std::int32_t>& tokens = scratch.tokens;
    tokens.clear();
    bool waiting = false;
    each_character(word, [&](std::string_view one) {
      const std::int32_t id = index_->find(one);
      if (id >= 0) {
        if (waiting) tokens.push_back(*spec_.unknown);
        waiting = false;
        tokens.push_back(id);
      } else if (has_bytes(one)) {
        append_bytes(one, tokens);
      } else if (spec_.unknown) {
        if (waiting && !spec_.fuse_unknown) tokens.push_back(*spec_.unknown);
        waiting = true;
      }
    });
    if (waiting) tokens.push_back(*spec_.unknown);
    scratch.merger.merge(merges_, tokens);
    ids.insert(ids.end(), tokens.begin(), tokens.end());
  }

  std::shared_ptr<const TokenIndex> index_;
  PieceBpe spec_;
  bool ranked_;  // SentencePiece's rules; else Hugging Face's
  bool can_cut_ = false;
  std::unordered_set<std::int32_t> reserved_;  // ids that text does not become
  std::array<std::int32_t, 256> byte_id_{};    // -1: none
  LiteralSet user_defined_;
  MergeTable merges_;
};

}  // namespace

std::unique_ptr<SubwordModel> make_piece_bpe(const TokenizerModel& model,
                                             std::shared_ptr<const TokenIndex> index) {
  return std::make_unique<PieceBpeModel>(model, std::move(index));
}

}  // namespace bessemer::data
