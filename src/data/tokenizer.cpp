#include "data/tokenizer.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>

#include "base/error.h"
#include "data/byte_alphabet.h"

namespace bessemer::data {

Tokenizer::Tokenizer(TokenizerModel model)
    : model_(std::move(model)), pretokenizer_(model_.pattern), merges_(model_.merges.size()) {
  require_input(model_.tokens.size() < std::numeric_limits<std::int32_t>::max(),
                "a vocabulary of {} tokens", model_.tokens.size());
  index_added();
  index_tokens();
  index_merges();
}

void Tokenizer::index_added() {
  for (AddedToken& token : model_.added) {
    const auto id = static_cast<std::size_t>(token.id);
    require_input(token.id >= 0 && id < model_.tokens.size(), "added token {:?} has id {}",
                  token.content, token.id);
    require_input(!token.content.empty(), "the added token with id {} is empty", token.id);
    Token& entry = model_.tokens[id];
    if (entry.bytes.empty()) entry = {token.content, true};
    if (entry.bytes != token.content) {
      fail_input("added token {:?} has id {}, which is the token {:?}; ids must be distinct",
                 token.content, token.id, to_alphabet(entry.bytes));
    }
  }
  for (const AddedToken& token : model_.added) {
    AddedSet& set = added_[token.normalized ? 1 : 0];
    const bool fresh =
        !added_[0].ids.contains(token.content) && !added_[1].ids.contains(token.content);
    require_input(fresh, "added token {:?} is there twice", token.content);
    set.ids.emplace(token.content, token.id);
    set.lengths.push_back(token.content.size());
    set.starts[static_cast<unsigned char>(token.content[0])] = true;
  }
  for (AddedSet& set : added_) {
    std::sort(set.lengths.begin(), set.lengths.end(), std::greater<>());
    set.lengths.erase(std::unique(set.lengths.begin(), set.lengths.end()), set.lengths.end());
  }
}

void Tokenizer::index_tokens() {
  id_of_.reserve(model_.tokens.size());
  for (std::size_t id = 0; id < model_.tokens.size(); ++id) {
    const Token& token = model_.tokens[id];
    if (token.bytes.empty() || token.literal) continue;
    const auto [other, fresh] = id_of_.emplace(token.bytes, static_cast<std::int32_t>(id));
    if (!fresh) {
      fail_input("token {:?} has two ids, {} and {}", to_alphabet(token.bytes), other->second, id);
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const auto found = id_of_.find(std::string_view(&c, 1));
    require_input(found != id_of_.end(),
                  "the vocabulary has no token for byte 0x{:02x}; a byte-level tokenizer has one "
                  "for each of the 256",
                  byte);
    byte_id_[static_cast<std::size_t>(byte)] = found->second;
  }
}

void Tokenizer::index_merges() {
  const auto bytes = [&](std::int32_t id) -> const std::string& {
    require_input(!token_bytes(id).empty(), "a merge uses id {}, which is no token", id);
    return model_.tokens[static_cast<std::size_t>(id)].bytes;
  };
  for (std::size_t rank = 0; rank < model_.merges.size(); ++rank) {
    const auto [left, right] = model_.merges[rank];
    const auto result = id_of_.find(bytes(left) + bytes(right));
    if (result == id_of_.end()) {
      fail_input("merge {} makes {:?}, which is no token", rank,
                 to_alphabet(bytes(left) + bytes(right)));
    }
    const bool fresh =
        merges_.insert(left, right, {static_cast<std::int32_t>(rank), result->second});
    if (!fresh) {
      fail_input("merge {} of {:?} and {:?} is there twice", rank, to_alphabet(bytes(left)),
                 to_alphabet(bytes(right)));
    }
  }
}

Tokenizer::AddedSet::Found Tokenizer::AddedSet::find(std::string_view text,
                                                     std::size_t from) const {
  if (ids.empty()) return {};
  for (std::size_t at = from; at < text.size(); ++at) {
    if (!starts[static_cast<unsigned char>(text[at])]) continue;
    for (const std::size_t length : lengths) {
      if (length > text.size() - at) continue;
      const auto found = ids.find(text.substr(at, length));
      if (found != ids.end()) return {at, length, found->second};
    }
  }
  return {};
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, AddedTokens added) const {
  std::vector<std::int32_t> ids;
  Encoder(*this).encode(text, added, ids);
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    const std::string_view bytes = token_bytes(id);
    require_input(!bytes.empty(), "token id {}: the tokenizer has no such token (ids are below {})",
                  id, vocabulary_size());
    text += bytes;
  }
  return text;
}

std::string_view Tokenizer::token_bytes(std::int32_t id) const {
  if (id < 0 || id >= vocabulary_size()) return {};
  return model_.tokens[static_cast<std::size_t>(id)].bytes;
}

std::optional<std::int32_t> Tokenizer::find_token(std::string_view bytes) const {
  for (const AddedSet& set : added_) {
    if (const auto found = set.ids.find(bytes); found != set.ids.end()) return found->second;
  }
  if (const auto found = id_of_.find(bytes); found != id_of_.end()) return found->second;
  return std::nullopt;
}

std::int32_t Tokenizer::end_of_text() const {
  for (const std::string_view name : {"<|endoftext|>", "<|end_of_text|>", "</s>", "<|im_end|>"}) {
    for (const AddedSet& set : added_) {
      if (const auto found = set.ids.find(name); found != set.ids.end()) return found->second;
    }
  }
  fail_input(
      "the tokenizer has no end-of-text token: expected an added token <|endoftext|>, "
      "<|end_of_text|>, </s> or <|im_end|>");
}

}  // namespace bessemer::data
