#include "data/split.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/rng.h"

namespace bessemer::data {
namespace {

constexpr std::uint32_t kSite = 0x5B117;  // sets these draws apart from all others
constexpr std::uint64_t kBits = 64;
constexpr std::uint64_t kBlock = 64;  // words with one entry in Members::ranks_

std::uint32_t checked_count(const IndexedDataset& dataset) {
  require_input(dataset.documents() > 0, "{}: no documents", dataset.name());
  require_input(dataset.documents() < std::numeric_limits<std::uint32_t>::max(),
                "{}: {} documents, at most 2^32 - 2 can be split", dataset.name(),
                dataset.documents());
  return static_cast<std::uint32_t>(dataset.documents());
}

}  // namespace

double split_draw(std::uint64_t seed, std::uint32_t document) {
  const PhiloxCounter words = CounterRng(seed, 0, kSite).block(document);
  const std::uint64_t bits = std::uint64_t{words[0]} << 32 | words[1];
  return static_cast<double>(bits >> 11) * 0x1p-53;  // 53 bits
}

namespace {

/// The document of the most extreme draw.
template <typename Compare>
std::uint32_t extreme(const DocumentSet& set, Compare compare) {
  std::uint32_t chosen = 0;
  for (std::uint32_t d = 1; d < set.documents; ++d) {
    if (compare(split_draw(set.seed, d), split_draw(set.seed, chosen))) chosen = d;
  }
  return chosen;
}

/// A bit for each document that validates; two documents or more.
std::vector<std::uint64_t> validation_bits(const DocumentSet& set) {
  std::vector<std::uint64_t> words((set.documents + kBits - 1) / kBits);
  parallel_for(
      static_cast<std::int64_t>(words.size()), 64, [&](std::int64_t from, std::int64_t to) {
        for (auto d = static_cast<std::uint64_t>(from) * kBits;
             d < std::min<std::uint64_t>(static_cast<std::uint64_t>(to) * kBits, set.documents);
             ++d) {
          const bool chosen = split_draw(set.seed, static_cast<std::uint32_t>(d)) < set.fraction;
          words[d / kBits] |= std::uint64_t{chosen} << d % kBits;
        }
      });
  std::uint64_t count = 0;
  for (const std::uint64_t word : words) count += static_cast<std::uint64_t>(std::popcount(word));
  const auto flip = [&](std::uint32_t d) { words[d / kBits] ^= std::uint64_t{1} << d % kBits; };
  if (count == 0) flip(extreme(set, std::less<>()));
  if (count == set.documents) flip(extreme(set, std::greater<>()));
  return words;
}

/// Inverts the bits of the first `count`.
void complement(std::vector<std::uint64_t>& words, std::uint64_t count) {
  for (std::uint64_t& word : words) word = ~word;
  if (count % kBits != 0) words.back() &= (std::uint64_t{1} << count % kBits) - 1;
}

Split split_tokens(std::uint64_t tokens, double fraction) {
  const auto wanted =
      static_cast<std::uint64_t>(std::llround(static_cast<double>(tokens) * fraction));
  const std::uint64_t cut =
      tokens < 4 ? tokens : tokens - std::clamp<std::uint64_t>(wanted, 2, tokens - 2);
  Split split;
  split.train = {DocumentSet::Side::all, 1, 0, 0, 0, cut};
  if (cut < tokens) split.validation = {DocumentSet::Side::all, 1, 0, 0, cut, tokens};
  return split;
}

void warn_if_lopsided(const IndexedDataset& dataset, const DocumentSet& validation) {
  const Members members = validation.members();
  std::uint64_t tokens = 0;
  for (std::uint64_t i = 0; i < members.size(); ++i) tokens += dataset.length(members[i]);
  const double share = static_cast<double>(tokens) /
                       static_cast<double>(std::max<std::uint64_t>(dataset.tokens(), 1));
  if (share > 0.1 && share > 4 * validation.fraction) {
    log::warn(
        "{}: {:.0f}% of the tokens validate, though {:.1f}% were asked: the documents are few or "
        "of unequal length; separate documents by <|endoftext|> lines or give more of them",
        dataset.name(), 100 * share, 100 * validation.fraction);
  }
}

}  // namespace

Members::Members(std::vector<std::uint64_t> words) : words_(std::move(words)) {
  for (std::size_t w = 0; w < words_.size(); ++w) {
    if (w % kBlock == 0) ranks_.push_back(count_);
    count_ += static_cast<std::uint64_t>(std::popcount(words_[w]));
  }
}

std::uint32_t Members::operator[](std::uint64_t i) const {
  if (words_.empty()) return static_cast<std::uint32_t>(i);
  const auto after = std::upper_bound(ranks_.begin(), ranks_.end(), i);
  const auto block = static_cast<std::size_t>(after - ranks_.begin()) - 1;
  std::uint64_t left = i - ranks_[block];
  std::size_t w = block * kBlock;
  for (;; ++w) {
    const auto here = static_cast<std::uint64_t>(std::popcount(words_[w]));
    if (left < here) break;
    left -= here;
  }
  std::uint64_t word = words_[w];
  for (; left > 0; --left) word &= word - 1;
  return static_cast<std::uint32_t>(w * kBits) + static_cast<std::uint32_t>(std::countr_zero(word));
}

std::vector<std::uint32_t> Members::list() const {
  std::vector<std::uint32_t> documents;
  for (std::uint64_t i = 0; i < count_; ++i) documents.push_back((*this)[i]);
  return documents;
}

Members DocumentSet::members() const {
  if (side == Side::none) return Members(0u);
  if (side == Side::all) return Members(documents);
  std::vector<std::uint64_t> words = validation_bits(*this);
  if (side == Side::train) complement(words, documents);
  return Members(std::move(words));
}

std::string DocumentSet::description() const {
  return fmt::format("side {} of {} seed {} fraction {} tokens {} {}", static_cast<int>(side),
                     documents, seed, fraction, begin, end);
}

DocumentSet all_documents(const IndexedDataset& dataset) {
  return {DocumentSet::Side::all, checked_count(dataset)};
}

Split split_documents(const IndexedDataset& dataset, std::uint64_t seed, double fraction) {
  require_input(fraction >= 0 && fraction < 1,
                "validation fraction {}: expected a number from 0 up to, not including, 1",
                fraction);
  const std::uint32_t count = checked_count(dataset);
  if (fraction == 0) return {all_documents(dataset), {}};
  if (count == 1) return split_tokens(dataset.length(0), fraction);
  const Split split{{DocumentSet::Side::train, count, seed, fraction},
                    {DocumentSet::Side::validation, count, seed, fraction}};
  constexpr std::uint32_t kFew = 1 << 20;
  if (count <= kFew) warn_if_lopsided(dataset, split.validation);
  return split;
}

}  // namespace bessemer::data
