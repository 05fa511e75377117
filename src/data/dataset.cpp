#include "data/dataset.h"

#include <algorithm>

#include "base/error.h"
#include "base/rng.h"
#include "data/sequence_writer.h"

namespace bessemer::data {
namespace {

constexpr std::uint32_t kSite = 0x0EDE2;  // sets these draws apart from all others

constexpr std::uint64_t kPackingOrder = ~std::uint64_t{0};  // no epoch

}  // namespace

std::uint64_t epoch_seed(std::uint64_t seed, std::uint32_t source, std::uint64_t epoch) {
  const PhiloxCounter words = CounterRng(seed, source, kSite).block(epoch);
  return std::uint64_t{words[0]} << 32 | words[1];
}

Dataset::Dataset(std::shared_ptr<const IndexedDataset> tokens, DocumentSet documents,
                 DatasetOptions options, std::shared_ptr<const LossMask> loss)
    : data_(std::move(tokens)),
      loss_(std::move(loss)),
      documents_(std::move(documents)),
      options_(options) {
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
  layout_ = options_.packing == Packing::best_fit
                ? pack_best_fit(offsets_, options_.sequence_length,
                                epoch_seed(options_.seed, options_.source, kPackingOrder))
                : concatenate(offsets_, options_.sequence_length, options_.tail);
  require_input(layout_->sequences() > 0, "{}: no document has two tokens; give more text",
                data_->name());
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

std::uint64_t Dataset::permuted(std::uint64_t index) const {
  const std::uint64_t count = sequences();
  if (options_.order == Order::corpus) return index % count;
  const std::uint64_t seed = epoch_seed(options_.seed, options_.source, index / count);
  return Permutation(count, seed)(index % count);
}

double Dataset::padding() const {
  const auto positions =
      static_cast<double>(sequences()) * static_cast<double>(options_.sequence_length);
  return static_cast<double>(layout_->padding()) / positions;
}

/// Where the set begins in its document: only a set of one may begin within it.
std::uint64_t Dataset::first_token() const {
  return documents_.documents.size() == 1 ? documents_.begin : 0;
}

/// Tokens [begin, begin + out.size()) of document i's part of the stream.
void Dataset::read_part(std::size_t i, std::uint64_t begin, std::span<std::int32_t> out) const {
  const std::uint64_t stored = stored_length(i);
  const std::uint64_t end = std::min(begin + out.size(), stored);
  const std::size_t n = end > begin ? static_cast<std::size_t>(end - begin) : 0;
  std::fill(out.begin() + static_cast<std::ptrdiff_t>(n), out.end(), options_.end_of_text);
  if (n == 0) return;
  const std::uint32_t document = documents_.documents[i];
  data_->read(document, first_token() + begin, out.first(n));
  for (std::size_t t = 0; t < n; ++t) {
    require_input(out[t] >= 0 && out[t] < options_.vocabulary,
                  "{}: document {}: token {} is {}, expected an id below {}; the file was made "
                  "with another tokenizer",
                  data_->name(), document, first_token() + begin + t, out[t], options_.vocabulary);
  }
}

/// End-of-text tokens that are not in the file are not in its mask either: never trained.
void Dataset::mask_part(std::size_t i, std::uint64_t begin, std::span<std::int32_t> targets) const {
  if (loss_ == nullptr) return;
  const std::uint64_t stored = stored_length(i);
  const std::uint64_t end = std::min(begin + targets.size(), stored);
  const std::size_t n = end > begin ? static_cast<std::size_t>(end - begin) : 0;
  std::fill(targets.begin() + static_cast<std::ptrdiff_t>(n), targets.end(), -1);
  const std::uint64_t first = data_->position(documents_.documents[i]) + first_token();
  loss_->apply(first + begin, targets.first(n));
}

class Dataset::Streams final : public TokenStreams {
 public:
  explicit Streams(const Dataset& dataset) : dataset_(dataset) {}

  std::uint64_t length(std::uint32_t stream) const override {
    return dataset_.offsets_[stream + 1] - dataset_.offsets_[stream];
  }
  void read(std::uint32_t stream, std::uint64_t begin, std::span<std::int32_t> out) const override {
    dataset_.read_part(stream, begin, out);
  }
  void mask(std::uint32_t stream, std::uint64_t begin,
            std::span<std::int32_t> targets) const override {
    dataset_.mask_part(stream, begin, targets);
  }

 private:
  const Dataset& dataset_;
};

std::int64_t Dataset::read(std::uint64_t index, const SequenceView& out) const {
  return write_sequence(Streams(*this), *layout_, permuted(index), options_.end_of_text, out);
}

void Dataset::visit(std::uint64_t index, const OriginVisitor& visitor) const {
  layout_->visit(permuted(index), [&](const Part& part) {
    visitor({options_.source, documents_.documents[part.stream], first_token() + part.begin,
             part.count});
  });
}

}  // namespace bessemer::data
