// Encoder, declared in tokenizer.h.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "data/tokenizer.h"

namespace bessemer::data {
namespace {

constexpr std::size_t kSlots = 1 << 17;  // of the word cache
constexpr std::size_t kMostCached = kSlots / 2;
constexpr std::size_t kLongestCached = 128;  // bytes; longer words seldom come back

}  // namespace

Encoder::Encoder(const Tokenizer& tokenizer)
    : tokenizer_(&tokenizer), splitter_(tokenizer.pretokenizer_) {}

void Encoder::encode(std::string_view text, AddedTokens added, std::vector<std::int32_t>& ids) {
  if (added == AddedTokens::as_ids) {
    encode_round(0, text, ids);
  } else {
    encode_plain(text, ids);
  }
}

/// Cuts out the added tokens of a round; what is between goes to the next round.
void Encoder::encode_round(std::size_t round, std::string_view text,
                           std::vector<std::int32_t>& ids) {
  if (round == tokenizer_->added_.size()) return encode_plain(text, ids);
  std::size_t at = 0;
  while (at < text.size()) {
    const auto found = tokenizer_->added_[round].find(text, at);
    const std::size_t stop = found.length > 0 ? found.begin : text.size();
    if (stop > at) encode_round(round + 1, text.substr(at, stop - at), ids);
    if (found.length > 0) ids.push_back(found.id);
    at = stop + found.length;
  }
}

void Encoder::encode_plain(std::string_view text, std::vector<std::int32_t>& ids) {
  splitter_.start(text);
  std::string_view word;
  while (splitter_.next(word)) {
    while (word.size() > kLongestWord) {
      encode_new_word(word.substr(0, kLongestWord), ids);
      word.remove_prefix(kLongestWord);
    }
    encode_word(word, ids);
  }
}

void Encoder::encode_word(std::string_view word, std::vector<std::int32_t>& ids) {
  if (word.size() == 1) {
    ids.push_back(tokenizer_->byte_id_[static_cast<unsigned char>(word[0])]);
    return;
  }
  if (word.size() > kLongestCached) return encode_new_word(word, ids);
  if (cache_.empty()) cache_.resize(kSlots);
  const std::uint64_t hash = XXH3_64bits(word.data(), word.size());
  std::size_t slot = hash & (kSlots - 1);
  for (; cache_[slot].word_size != 0; slot = (slot + 1) & (kSlots - 1)) {
    const Entry& entry = cache_[slot];
    if (entry.hash != hash || entry.word_size != word.size()) continue;
    if (std::memcmp(words_.data() + entry.word, word.data(), word.size()) != 0) continue;
    const auto first = ids_.begin() + entry.ids;
    ids.insert(ids.end(), first, first + entry.ids_size);
    return;
  }
  encode_new_word(word, ids);
  remember(slot, hash, word);
}

/// Leaves the ids of the word in tokens_ as well.
void Encoder::encode_new_word(std::string_view word, std::vector<std::int32_t>& ids) {
  tokens_.clear();
  const auto whole =
      tokenizer_->model_.ignore_merges ? tokenizer_->id_of_.find(word) : tokenizer_->id_of_.end();
  if (whole != tokenizer_->id_of_.end()) {
    tokens_.push_back(whole->second);
  } else {
    for (const char c : word) {
      tokens_.push_back(tokenizer_->byte_id_[static_cast<unsigned char>(c)]);
    }
    merger_.merge(tokenizer_->merges_, tokens_);
  }
  ids.insert(ids.end(), tokens_.begin(), tokens_.end());
}

void Encoder::remember(std::size_t slot, std::uint64_t hash, std::string_view word) {
  if (cached_ == kMostCached) {
    std::fill(cache_.begin(), cache_.end(), Entry{});
    words_.clear();
    ids_.clear();
    cached_ = 0;
    slot = hash & (kSlots - 1);
  }
  cache_[slot] = {hash, static_cast<std::uint32_t>(words_.size()),
                  static_cast<std::uint32_t>(word.size()), static_cast<std::uint32_t>(ids_.size()),
                  static_cast<std::uint32_t>(tokens_.size())};
  words_.insert(words_.end(), word.begin(), word.end());
  ids_.insert(ids_.end(), tokens_.begin(), tokens_.end());
  ++cached_;
}

}  // namespace bessemer::data
