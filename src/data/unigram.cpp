// The most probable segmentation of a word, found in one pass over its characters (Viterbi): time
// and memory are linear in the word, times the length of the longest piece.
//
// Scores are summed as the original sums them, since the rounding decides between ways of equal
// score: Hugging Face in fp64, SentencePiece in fp32.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "data/decoder.h"
#include "data/merge_rules.h"
#include "data/piece_trie.h"
#include "data/subword_model.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

std::size_t bytes_of_pieces(const TokenizerModel& model) {
  std::size_t bytes = 0;
  for (const Token& token : model.tokens) bytes += token.piece.size();
  return bytes;
}

class UnigramModel final : public SubwordModel {
 public:
  UnigramModel(const TokenizerModel& model, std::shared_ptr<const TokenIndex> index)
      : index_(std::move(index)),
        spec_(std::get<Unigram>(model.subwords)),
        trie_(bytes_of_pieces(model)) {
    for (std::size_t id = 0; id < model.tokens.size(); ++id) {
      const Token& token = model.tokens[id];
      const bool searchable = spec_.searchable.empty() || spec_.searchable[id];
      if (!searchable || token.piece.empty() || token.literal) continue;
      trie_.insert(token.piece, static_cast<std::int32_t>(id));
    }
    for (int byte = 0; byte < 256; ++byte) {
      const std::int32_t id = index_->find(piece_of_byte(static_cast<std::uint8_t>(byte)));
      byte_id_[static_cast<std::size_t>(byte)] = spec_.byte_fallback ? id : -1;
    }
  }

  void encode(std::string_view word, Scratch& scratch,
              std::vector<std::int32_t>& ids) const override {
    find_path(word, scratch.path);
    std::vector<std::int32_t>& ends = scratch.tokens;
    ends.clear();
    for (auto at = static_cast<std::int32_t>(word.size()); at > 0;
         at = scratch.path[static_cast<std::size_t>(at)].begin) {
      ends.push_back(at);
    }
    std::size_t begin = 0;
    for (std::size_t i = ends.size(); i-- > 0;) {
      std::size_t end = static_cast<std::size_t>(ends[i]);
      const std::int32_t id = scratch.path[end].id;
      if (id != unknown()) {
        ids.push_back(id);
      } else {
        for (; i > 0 && scratch.path[static_cast<std::size_t>(ends[i - 1])].id == id; --i) {
          end = static_cast<std::size_t>(ends[i - 1]);
        }
        append_unknown(word.substr(begin, end - begin), ids);
      }
      begin = end;
    }
  }

 private:
  std::int32_t unknown() const { return spec_.unknown.value_or(-2); }

  bool hugging_face() const { return spec_.arithmetic == Unigram::Arithmetic::hugging_face; }
  double rounded(double score) const {
    return hugging_face() ? score : static_cast<double>(static_cast<float>(score));
  }

  void find_path(std::string_view word, std::vector<PathNode>& path) const {
    path.assign(word.size() + 1, {});
    const auto* const end = reinterpret_cast<const unsigned char*>(word.data()) + word.size();
    for (std::size_t at = 0; at < word.size();) {
      const double before = path[at].score;
      const auto offer = [&](std::size_t length, double score, std::int32_t id) {
        PathNode& node = path[at + length];
        const double total = rounded(score + before);
        if (node.begin >= 0 && !(total > node.score)) return;
        node = {total, id, static_cast<std::int32_t>(at)};
      };
      char32_t rune = 0;
      const auto* const p = reinterpret_cast<const unsigned char*>(word.data()) + at;
      const auto character = static_cast<std::size_t>(std::max(1, decode_utf8(p, end, rune)));
      bool covered = false;
      trie_.each_front(word.substr(at), [&](std::size_t length, std::int32_t id) {
        offer(length, spec_.scores[static_cast<std::size_t>(id)], id);
        covered |= length == character;
      });
      if (!covered) offer_unknown(character, offer);
      at += character;
    }
  }

  template <typename Offer>
  void offer_unknown(std::size_t length, const Offer& offer) const {
    require_input(
        spec_.unknown.has_value(),
        "a character of the text is in no token, and the tokenizer has no unknown token; use "
        "another tokenizer or take the character out");
    offer(length, spec_.unknown_score, *spec_.unknown);
  }

  /// A run of unknown characters: one token, or the bytes.
  void append_unknown(std::string_view text, std::vector<std::int32_t>& ids) const {
    const std::int32_t known = hugging_face() ? index_->find(text) : -1;
    const bool bytes = std::all_of(text.begin(), text.end(), [&](char c) {
      return byte_id_[static_cast<unsigned char>(c)] >= 0;
    });
    if (known >= 0 || !bytes) {
      ids.push_back(known >= 0 ? known : *spec_.unknown);
      return;
    }
    for (const char c : text) ids.push_back(byte_id_[static_cast<unsigned char>(c)]);
  }

  std::shared_ptr<const TokenIndex> index_;
  Unigram spec_;
  PieceTrie trie_;
  std::array<std::int32_t, 256> byte_id_{};  // -1: none
};

}  // namespace

std::unique_ptr<SubwordModel> make_unigram(const TokenizerModel& model,
                                           std::shared_ptr<const TokenIndex> index) {
  return std::make_unique<UnigramModel>(model, std::move(index));
}

}  // namespace bessemer::data
