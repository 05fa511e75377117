#include "data/dataset.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"

namespace bessemer::data {
namespace {

constexpr std::uint32_t kSite = 0x0EDE2;  // sets these draws apart from all others

std::uint64_t epoch_seed(std::uint64_t seed, std::uint32_t source, std::uint64_t epoch) {
  const PhiloxCounter words = CounterRng(seed, source, kSite).block(epoch);
  return std::uint64_t{words[0]} << 32 | words[1];
}

}  // namespace

Dataset::Dataset(std::shared_ptr<const IndexedDataset> tokens, DocumentSet documents,
                 DatasetOptions options)
    : data_(std::move(tokens)), documents_(std::move(documents)), options_(options) {
  require(options_.sequence_length > 0, "sequence length {}", options_.sequence_length);
  const bool stored = holds_end_of_text();
  const auto& set = documents_.documents;
  offsets_.reserve(set.size() + 1);
  offsets_.push_back(0);
  for (std::size_t i = 0; i < set.size(); ++i) {
    const std::uint64_t length = stored_length(i);
    const bool whole = set.size() > 1 || documents_.end >= data_->length(set[i]);
    const bool append = length > 0 && whole && !stored;
    offsets_.push_back(offsets_.back() + length + (append ? 1 : 0));
  }
  require_input(offsets_.back() >= 2,
                "{}: the chosen documents have {} tokens, expected two at least; give more text",
                data_->name(), offsets_.back());
  const auto length = static_cast<std::uint64_t>(options_.sequence_length);
  const std::uint64_t predictions = offsets_.back() - 1;
  const std::uint64_t whole = predictions / length;
  const bool pad = options_.tail == Tail::pad && predictions % length != 0;
  sequences_ = std::max<std::uint64_t>(whole + (pad ? 1 : 0), 1);
}

/// Tokens of document i of the set as the file has them.
std::uint64_t Dataset::stored_length(std::size_t i) const {
  const std::uint64_t length = data_->length(documents_.documents[i]);
  if (documents_.documents.size() > 1) return length;
  return std::min(length, documents_.end) - std::min(length, documents_.begin);
}

bool Dataset::holds_end_of_text() const {
  constexpr std::uint64_t kSample = 1024;
  const std::uint64_t count = data_->documents();
  const std::uint64_t stride = std::max<std::uint64_t>(count / kSample, 1);
  bool any = false;
  for (std::uint64_t d = 0; d < count; d += stride) {
    const std::uint64_t length = data_->length(d);
    if (length == 0) continue;
    std::int32_t last = 0;
    data_->read(d, length - 1, std::span(&last, 1));
    if (last != options_.end_of_text) return false;
    any = true;
  }
  return any;
}

std::uint64_t Dataset::window(std::uint64_t index) const {
  if (options_.order == Order::corpus) return index % sequences_;
  const std::uint64_t seed = epoch_seed(options_.seed, options_.source, index / sequences_);
  return Permutation(sequences_, seed)(index % sequences_);
}

/// Tokens [begin, begin + out.size()) of document i's part of the stream.
void Dataset::read_part(std::size_t i, std::uint64_t begin, std::span<std::int32_t> out) const {
  const std::uint64_t stored = stored_length(i);
  const std::uint64_t end = std::min(begin + out.size(), stored);
  const std::size_t n = end > begin ? static_cast<std::size_t>(end - begin) : 0;
  std::fill(out.begin() + static_cast<std::ptrdiff_t>(n), out.end(), options_.end_of_text);
  if (n == 0) return;
  const std::uint32_t document = documents_.documents[i];
  const std::uint64_t skip = documents_.documents.size() == 1 ? documents_.begin : 0;
  data_->read(document, skip + begin, out.first(n));
  for (std::size_t t = 0; t < n; ++t) {
    require_input(out[t] >= 0 && out[t] < options_.vocabulary,
                  "{}: document {}: token {} is {}, expected an id below {}; the file was made "
                  "with another tokenizer",
                  data_->name(), document, skip + begin + t, out[t], options_.vocabulary);
  }
}

std::int64_t Dataset::read(std::uint64_t index, const SequenceView& out) const {
  const auto length = static_cast<std::uint64_t>(options_.sequence_length);
  const std::uint64_t start = window(index) * length;
  const std::uint64_t stop = std::min(start + length, offsets_.back());
  const auto after = std::upper_bound(offsets_.begin(), offsets_.end(), start);
  auto document = static_cast<std::size_t>(after - offsets_.begin()) - 1;
  std::int64_t valid = 0;
  std::uint64_t filled = 0;
  const auto mark_part = [&](std::uint64_t end) {
    for (std::uint64_t t = filled; t < end; ++t) {
      out.positions[t] = static_cast<std::int32_t>(t - filled);
      out.visibility[2 * t] = static_cast<std::int32_t>(filled);
      out.visibility[2 * t + 1] = static_cast<std::int32_t>(end);
    }
  };
  for (; start + filled < stop; ++document) {
    const std::uint64_t document_end = offsets_[document + 1];
    const std::uint64_t end = std::min(document_end, stop) - start;
    if (end <= filled) continue;  // an empty document
    const std::uint64_t begin = start + filled - offsets_[document];
    const std::size_t n = end - filled;
    const auto tokens = out.tokens.subspan(filled, n);
    const auto targets = out.targets.subspan(filled, n);
    read_part(document, begin, tokens);
    std::copy(tokens.begin() + 1, tokens.end(), targets.begin());
    targets.back() = -1;
    if (start + end < document_end) read_part(document, begin + n, targets.last(1));
    valid += static_cast<std::int64_t>(n) - (targets.back() < 0 ? 1 : 0);
    mark_part(end);
    filled = end;
  }
  std::fill(out.tokens.begin() + static_cast<std::ptrdiff_t>(filled), out.tokens.end(),
            options_.end_of_text);
  std::fill(out.targets.begin() + static_cast<std::ptrdiff_t>(filled), out.targets.end(), -1);
  mark_part(length);
  return valid;
}

}  // namespace bessemer::data
