// Encoder, declared in tokenizer.h.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "data/tokenizer.h"
#include "data/unicode_form.h"

namespace bessemer::data {
namespace {

constexpr std::size_t kSlots = 1 << 17;  // of the word cache
constexpr std::size_t kMostCached = kSlots / 2;
constexpr std::size_t kLongestCached = 128;  // bytes; longer words seldom come back

/// The place nearest below `most` where `word` can be cut without cutting a character.
std::size_t cut_below(std::string_view word, std::size_t most) {
  std::size_t at = most;
  while (at > most - 4 && (static_cast<unsigned char>(word[at]) & 0xC0) == 0x80) --at;
  return at;
}

}  // namespace

Encoder::Encoder(const Tokenizer& tokenizer)
    : tokenizer_(&tokenizer), splitter_(tokenizer.pretokenizer_) {}

void Encoder::encode(std::string_view text, AddedTokens added, std::vector<std::int32_t>& ids) {
  if (tokenizer_->wants_utf8_ && !is_valid_utf8(text)) {
    encode_raw(to_valid_utf8(text), added, true, ids);
  } else {
    encode_raw(text, added, true, ids);
  }
}

/// Cuts out the added tokens of the first round; what is between is normalized.
void Encoder::encode_raw(std::string_view text, AddedTokens added, bool first,
                         std::vector<std::int32_t>& ids) {
  std::vector<AddedTokenSet::Part> parts;
  if (added == AddedTokens::as_ids && !tokenizer_->added_[0].empty()) {
    tokenizer_->added_[0].split(text, parts);
  } else if (!text.empty()) {
    parts.push_back({0, text.size(), -1});
  }
  for (const auto& part : parts) {
    const std::string_view between = text.substr(part.begin, part.end - part.begin);
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else if (tokenizer_->normalizer_.empty()) {
      encode_normalized(between, added, first && part.begin == 0, ids);
    } else {
      bool front_dropped = false;
      const std::string normalized = tokenizer_->normalizer_.normalize(between, &front_dropped);
      encode_normalized(normalized, added, first && part.begin == 0 && !front_dropped, ids);
    }
  }
}

/// Cuts out the added tokens of the second round.
void Encoder::encode_normalized(std::string_view text, AddedTokens added, bool first,
                                std::vector<std::int32_t>& ids) {
  if (added == AddedTokens::as_text || tokenizer_->added_[1].empty()) {
    return encode_plain(text, first, ids);
  }
  std::vector<AddedTokenSet::Part> parts;
  tokenizer_->added_[1].split(text, parts);
  for (const auto& part : parts) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      encode_plain(text.substr(part.begin, part.end - part.begin), first && part.begin == 0, ids);
    }
  }
}

void Encoder::encode_plain(std::string_view text, bool first, std::vector<std::int32_t>& ids) {
  splitter_.start(text, first);
  std::string_view word;
  while (splitter_.next(word)) {
    while (!word.empty()) {
      std::size_t n = tokenizer_->subwords_->front(word);
      if (n > kLongestWord) n = cut_below(word, kLongestWord);
      encode_word(word.substr(0, n), ids);
      word.remove_prefix(n);
    }
  }
}

void Encoder::encode_word(std::string_view word, std::vector<std::int32_t>& ids) {
  const SubwordModel& subwords = *tokenizer_->subwords_;
  if (word.size() > kLongestCached) return subwords.encode(word, scratch_, ids);
  if (cache_.empty()) cache_.resize(kSlots);
  const std::uint64_t hash = XXH3_64bits(word.data(), word.size());
  std::size_t slot = hash & (kSlots - 1);
  for (; cache_[slot].word_size != 0; slot = (slot + 1) & (kSlots - 1)) {
    const Entry& entry = cache_[slot];
    if (entry.hash != hash || entry.word_size != word.size()) continue;
    if (std::memcmp(words_.data() + entry.word, word.data(), word.size()) != 0) continue;
    const auto found = ids_.begin() + entry.ids;
    ids.insert(ids.end(), found, found + entry.ids_size);
    return;
  }
  const std::size_t before = ids.size();
  subwords.encode(word, scratch_, ids);
  remember(slot, hash, word, std::span(ids).subspan(before));
}

void Encoder::remember(std::size_t slot, std::uint64_t hash, std::string_view word,
                       std::span<const std::int32_t> ids) {
  if (cached_ == kMostCached) {
    std::fill(cache_.begin(), cache_.end(), Entry{});
    words_.clear();
    ids_.clear();
    cached_ = 0;
    slot = hash & (kSlots - 1);
  }
  cache_[slot] = {hash, static_cast<std::uint32_t>(words_.size()),
                  static_cast<std::uint32_t>(word.size()), static_cast<std::uint32_t>(ids_.size()),
                  static_cast<std::uint32_t>(ids.size())};
  words_.insert(words_.end(), word.begin(), word.end());
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  ++cached_;
}

}  // namespace bessemer::data
