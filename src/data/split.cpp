#include "data/split.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"

namespace bessemer::data {
namespace {

constexpr std::uint32_t kSite = 0x5B117;  // sets these draws apart from all others

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

/// Moves the document of extreme draw to the empty side.
template <typename Compare>
void fill(DocumentSet& empty, DocumentSet& full, std::uint64_t seed, Compare compare) {
  const auto chosen = std::min_element(
      full.documents.begin(), full.documents.end(),
      [&](auto a, auto b) { return compare(split_draw(seed, a), split_draw(seed, b)); });
  empty.documents.push_back(*chosen);
  full.documents.erase(chosen);
}

Split split_tokens(std::uint64_t tokens, double fraction) {
  const auto wanted =
      static_cast<std::uint64_t>(std::llround(static_cast<double>(tokens) * fraction));
  const std::uint64_t cut =
      tokens < 4 ? tokens : tokens - std::clamp<std::uint64_t>(wanted, 2, tokens - 2);
  Split split;
  split.train = {{0}, 0, cut};
  if (cut < tokens) split.validation = {{0}, cut, tokens};
  return split;
}

void warn_if_lopsided(const IndexedDataset& dataset, const Split& split, double fraction) {
  std::uint64_t tokens = 0;
  for (const std::uint32_t d : split.validation.documents) tokens += dataset.length(d);
  const double share = static_cast<double>(tokens) /
                       static_cast<double>(std::max<std::uint64_t>(dataset.tokens(), 1));
  if (share > 0.1 && share > 4 * fraction) {
    log::warn(
        "{}: {:.0f}% of the tokens validate, though {:.1f}% were asked: the documents are few or "
        "of unequal length; separate documents by <|endoftext|> lines or give more of them",
        dataset.name(), 100 * share, 100 * fraction);
  }
}

}  // namespace

DocumentSet all_documents(const IndexedDataset& dataset) {
  DocumentSet set;
  set.documents.resize(checked_count(dataset));
  std::iota(set.documents.begin(), set.documents.end(), 0u);
  return set;
}

Split split_documents(const IndexedDataset& dataset, std::uint64_t seed, double fraction) {
  require_input(fraction >= 0 && fraction < 1,
                "validation fraction {}: expected a number from 0 up to, not including, 1",
                fraction);
  const std::uint32_t count = checked_count(dataset);
  if (fraction == 0) return {all_documents(dataset), {}};
  if (count == 1) return split_tokens(dataset.length(0), fraction);
  Split split;
  for (std::uint32_t d = 0; d < count; ++d) {
    (split_draw(seed, d) < fraction ? split.validation : split.train).documents.push_back(d);
  }
  if (split.validation.documents.empty()) {
    fill(split.validation, split.train, seed, std::less<>());
  } else if (split.train.documents.empty()) {
    fill(split.train, split.validation, seed, std::greater<>());
  }
  warn_if_lopsided(dataset, split, fraction);
  return split;
}

}  // namespace bessemer::data
