#include "data/dataset.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "data/layout_file.h"
#include "data/manifest.h"
#include "data/sequence_writer.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kSite = 0x0EDE2;  // sets these draws apart from all others

// A layout's file is called PREFIX, a dot, digits of its digest and this; then maybe more while it
// is made.
constexpr std::size_t kLayoutDigits = 16;
constexpr std::string_view kLayoutEnd = ".layout";

constexpr std::uint64_t kPackingOrder = ~std::uint64_t{0};  // no epoch

}  // namespace

std::uint64_t epoch_seed(std::uint64_t seed, std::uint32_t source, std::uint64_t epoch) {
  const PhiloxCounter words = CounterRng(seed, source, kSite).block(epoch);
  return std::uint64_t{words[0]} << 32 | words[1];
}

// The documents of a set as streams; its members are worked out when it is made.
class Dataset::DocumentStreams final : public Streams {
 public:
  explicit DocumentStreams(const Dataset& dataset)
      : dataset_(dataset), members_(dataset.documents_.members()) {}

  std::uint64_t size() const override { return members_.size(); }

  Stream at(std::uint64_t i) const override {
    const std::uint32_t d = members_[i];
    return {d, dataset_.stream_of(dataset_.data_->length(d)).tokens()};
  }

  void visit(const std::function<void(const Stream&)>& visitor) const override {
    std::uint64_t i = 0;
    std::uint32_t d = 0;
    dataset_.data_->visit_lengths([&](std::uint64_t tokens) {
      if (i < size() && members_[i] == d) {
        visitor({d, dataset_.stream_of(tokens).tokens()});
        ++i;
      }
      ++d;
    });
  }

 private:
  const Dataset& dataset_;
  Members members_;
};

Dataset::Dataset(std::shared_ptr<const IndexedDataset> tokens, DocumentSet documents,
                 DatasetOptions options, std::shared_ptr<const LossMask> loss)
    : data_(std::move(tokens)),
      loss_(std::move(loss)),
      documents_(std::move(documents)),
      options_(std::move(options)) {
  require(options_.sequence_length > 0, "sequence length {}", options_.sequence_length);
  stored_ends_ = holds_end_of_text();
  layout_ = make_layout();
  require_input(layout_->tokens() >= 2,
                "{}: the chosen documents have {} tokens, expected two at least; give more text",
                data_->name(), layout_->tokens());
  require_input(layout_->sequences() > 0, "{}: no document has two tokens; give more text",
                data_->name());
}

Dataset::Stream Dataset::stream_of(std::uint64_t document_tokens) const {
  const std::uint64_t begin = std::min(document_tokens, documents_.begin);
  const std::uint64_t end = std::min(document_tokens, documents_.end);
  const bool ends = end > begin && end == document_tokens && !stored_ends_;
  return {begin, end - begin, ends};
}

std::unique_ptr<const Layout> Dataset::make_layout() const {
  const LayoutOptions options{options_.packing, options_.sequence_length, options_.tail,
                              epoch_seed(options_.seed, options_.source, kPackingOrder)};
  constexpr std::uint64_t kFewParts = 1 << 16;
  const std::uint64_t parts =
      data_->documents() + data_->tokens() / static_cast<std::uint64_t>(options.length);
  if (options_.layouts.empty() || parts < kFewParts) {
    return data::make_layout(DocumentStreams(*this), options);
  }
  const std::string digest = layout_digest(options);
  fs::path path = options_.layouts;
  path += "." + digest.substr(0, kLayoutDigits) + std::string(kLayoutEnd);
  const auto open = [&] { return open_layout(path, digest, options.length, data_->documents()); };
  if (auto layout = open()) return layout;
  const DocumentStreams streams(*this);
  try {
    write_layout(streams, options, path, digest);
    if (auto layout = open()) return layout;
  } catch (const InputError& error) {
    log::info("{}; the layout is kept in memory", error.what());
  }
  return data::make_layout(streams, options);
}

std::string Dataset::layout_digest(const LayoutOptions& options) const {
  return digest_of(fmt::format("{} {} {} {} {} {}\n{}\n{}", static_cast<int>(options.packing),
                               options.length, static_cast<int>(options.tail), options.seed,
                               options.window, stored_ends_, documents_.description(),
                               data_->identity()));
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

// The streams of the layout: documents, one at a time.
class Dataset::Reader final : public TokenStream {
 public:
  explicit Reader(const Dataset& dataset) : dataset_(dataset) {}

  std::uint64_t go_to(std::uint32_t document) override {
    document_ = document;
    extent_ = dataset_.data_->find(document);
    stream_ = dataset_.stream_of(extent_.tokens);
    return stream_.tokens();
  }

  void read(std::uint64_t begin, std::span<std::int32_t> out) const override {
    require_input(begin <= stream_.tokens() && out.size() <= stream_.tokens() - begin,
                  "{}: document {} has no tokens {} to {}; remove its .layout files",
                  dataset_.data_->name(), document_, begin, begin + out.size());
    const std::size_t n = stored(begin, out.size());
    std::fill(out.begin() + static_cast<std::ptrdiff_t>(n), out.end(),
              dataset_.options_.end_of_text);
    if (n == 0) return;
    dataset_.data_->read(extent_, stream_.begin + begin, out.first(n));
    check(begin, out.first(n));
  }

  /// End-of-text tokens that are not in the file are not in its mask either: never trained.
  void mask(std::uint64_t begin, std::span<std::int32_t> targets) const override {
    if (dataset_.loss_ == nullptr) return;
    const std::size_t n = stored(begin, targets.size());
    std::fill(targets.begin() + static_cast<std::ptrdiff_t>(n), targets.end(), -1);
    const std::uint64_t first = extent_.offset / size_of(dataset_.data_->type());
    dataset_.loss_->apply(first + stream_.begin + begin, targets.first(n));
  }

 private:
  /// Of the tokens [begin, begin + count) those that the files hold.
  std::size_t stored(std::uint64_t begin, std::size_t count) const {
    const std::uint64_t end = std::min(begin + count, stream_.stored);
    return end > begin ? static_cast<std::size_t>(end - begin) : 0;
  }

  void check(std::uint64_t begin, std::span<const std::int32_t> ids) const {
    const auto limit = static_cast<std::uint32_t>(dataset_.options_.vocabulary);
    const auto bad = std::find_if(ids.begin(), ids.end(),
                                  [&](auto id) { return static_cast<std::uint32_t>(id) >= limit; });
    const auto at = static_cast<std::size_t>(bad - ids.begin());
    require_input(bad == ids.end(),
                  "{}: document {}: token {} is {}, expected an id below {}; the file was made "
                  "with another tokenizer",
                  dataset_.data_->name(), document_, stream_.begin + begin + at,
                  bad == ids.end() ? 0 : *bad, limit);
  }

  const Dataset& dataset_;
  std::uint32_t document_ = 0;
  Extent extent_;
  Stream stream_;
};

std::int64_t Dataset::read(std::uint64_t index, const SequenceView& out) const {
  Reader reader(*this);
  return write_sequence(reader, *layout_, permuted(index), options_.end_of_text, out);
}

void Dataset::visit(std::uint64_t index, const OriginVisitor& visitor) const {
  layout_->visit(permuted(index), [&](const Part& part) {
    visitor({options_.source, part.stream, documents_.begin + part.begin, part.count});
  });
}

std::vector<fs::path> layout_files(const fs::path& prefix) {
  std::vector<fs::path> found;
  const std::string begin = prefix.filename().string() + ".";  // then the digits
  const fs::path directory = prefix.parent_path();
  std::error_code code;
  for (fs::directory_iterator it(directory.empty() ? fs::path(".") : directory, code), end;
       !code && it != end; it.increment(code)) {
    const std::string name = it->path().filename().string();
    const bool layout =
        name.starts_with(begin) && name.size() > begin.size() + kLayoutDigits &&
        name.compare(begin.size() + kLayoutDigits, kLayoutEnd.size(), kLayoutEnd) == 0;
    if (layout) found.push_back(it->path());
  }
  return found;
}

}  // namespace bessemer::data
