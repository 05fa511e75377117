#include "data/tokenizer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "data/merge_rules.h"

namespace bessemer::data {
namespace {

std::unique_ptr<SubwordModel> make_subwords(const TokenizerModel& model,
                                            const std::shared_ptr<const TokenIndex>& index) {
  if (model.byte_level()) return make_byte_bpe(model, index);
  if (std::holds_alternative<PieceBpe>(model.subwords)) return make_piece_bpe(model, index);
  return make_unigram(model, index);
}

}  // namespace

Tokenizer::Tokenizer(TokenizerModel model)
    : model_(std::move(model)), normalizer_(model_.normalizer), pretokenizer_(model_.pretokenizer) {
  require_input(model_.tokens.size() < std::numeric_limits<std::int32_t>::max(),
                "a vocabulary of {} tokens", model_.tokens.size());
  place_added();
  index_added();
  index_ = std::make_shared<const TokenIndex>(model_);
  subwords_ = make_subwords(model_, index_);
  cuttable_ = find_cuttable();
  const auto splits = [](const PretokenizerStep& step) {
    return std::holds_alternative<SplitStep>(step);
  };
  // SentencePiece's own normalizer sees the bytes as they are.
  const bool own = !model_.normalizer.empty() &&
                   std::holds_alternative<SentencePieceStep>(model_.normalizer.front());
  wants_utf8_ =
      !own && (!model_.byte_level() || !normalizer_.empty() ||
               std::any_of(model_.pretokenizer.begin(), model_.pretokenizer.end(), splits));
}

/// Gives added tokens that the vocabulary lacks their place in it.
void Tokenizer::place_added() {
  for (const AddedToken& token : model_.added) {
    const auto id = static_cast<std::size_t>(token.id);
    require_input(token.id >= 0 && id < model_.tokens.size(), "added token {:?} has id {}",
                  token.content, token.id);
    require_input(!token.content.empty(), "the added token with id {} is empty", token.id);
    Token& entry = model_.tokens[id];
    const bool piece = !model_.byte_level() && entry.piece == token.content;
    if (entry.bytes.empty()) entry = {token.content, true};
    if (entry.bytes != token.content && !piece) {
      fail_input("added token {:?} has id {}, which is the token {:?}; ids must be distinct",
                 token.content, token.id, shown_text(model_, merged_text(model_, token.id)));
    }
  }
}

void Tokenizer::index_added() {
  for (const AddedToken& token : model_.added) {
    const bool fresh = added_[0].find(token.content) < 0 && added_[1].find(token.content) < 0;
    require_input(fresh, "added token {:?} is there twice", token.content);
    const std::string content =
        token.normalized ? normalizer_.normalize(token.content) : token.content;
    if (content.empty()) continue;  // normalized away, so never found
    // Two that are the same when normalized: the first counts.
    added_[token.normalized ? 1 : 0].insert(token, content);
  }
}

/// Pieces end behind a newline between two characters that are not white space.
bool Tokenizer::find_cuttable() const {
  const bool words = normalizer_.cuttable() && pretokenizer_.cuttable();
  return words &&
         std::none_of(model_.added.begin(), model_.added.end(), [](const AddedToken& token) {
           const bool looks_around = token.strip_left || token.strip_right || token.single_word;
           return looks_around || token.content.find('\n') != token.content.npos;
         });
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, AddedTokens added) const {
  std::vector<std::int32_t> ids;
  Encoder(*this).encode(text, added, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  for (const std::int32_t id : ids) {
    require_input(!token_bytes(id).empty(),
                  "token id {}: the tokenizer has no such token (ids are below {})", id,
                  vocabulary_size());
  }
  return data::decode(model_.decoder, model_.tokens, ids);
}

std::string_view Tokenizer::token_bytes(std::int32_t id) const {
  if (id < 0 || id >= vocabulary_size()) return {};
  return model_.tokens[static_cast<std::size_t>(id)].bytes;
}

std::optional<std::int32_t> Tokenizer::find_token(std::string_view text) const {
  for (const AddedToken& token : model_.added) {
    if (token.content == text) return token.id;
  }
  if (const std::int32_t id = index_->find(text); id >= 0) return id;
  return std::nullopt;
}

std::int32_t Tokenizer::end_of_text() const {
  if (model_.end_of_text) return *model_.end_of_text;
  for (const std::string_view name :
       {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>"}) {
    for (const AddedToken& token : model_.added) {
      if (token.content == name) return token.id;
    }
  }
  fail_input(
      "the tokenizer has no end-of-text token: expected an added token <|endoftext|>, "
      "<|end_of_text|>, </s>, <eos> or <|im_end|>");
}

}  // namespace bessemer::data
