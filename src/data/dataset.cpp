#include "data/dataset.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "data/layout_file.h"
#include "data/manifest.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kSite = 0x0EDE2;  // sets these draws apart from all others

// A layout's file is called PREFIX, a dot, digits of its digest and this; then maybe more while it
// is made.
constexpr std::size_t kLayoutDigits = 16;
constexpr std::string_view kLayoutEnd = ".layout";

constexpr std::uint64_t kPackingOrder = ~std::uint64_t{0};  // no epoch

std::uint64_t epoch_seed(std::uint64_t seed, std::uint32_t source, std::uint64_t epoch) {
  const PhiloxCounter words = CounterRng(seed, source, kSite).block(epoch);
  return std::uint64_t{words[0]} << 32 | words[1];
}

}  // namespace

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
                 DatasetOptions options)
    : data_(std::move(tokens)), documents_(std::move(documents)), options_(std::move(options)) {
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

/// Tokens [part.begin, part.begin + out.size()) of a document's stream.
void Dataset::read_part(const Part& part, const Extent& extent, const Stream& stream,
                        std::span<std::int32_t> out) const {
  const std::uint64_t end = std::min(part.begin + out.size(), stream.stored);
  const std::size_t n = end > part.begin ? static_cast<std::size_t>(end - part.begin) : 0;
  std::fill(out.begin() + static_cast<std::ptrdiff_t>(n), out.end(), options_.end_of_text);
  if (n == 0) return;
  const std::uint64_t first = stream.begin + part.begin;
  data_->read(extent, first, out.first(n));
  const auto limit = static_cast<std::uint32_t>(options_.vocabulary);
  const auto bad = std::find_if(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(n),
                                [&](auto id) { return static_cast<std::uint32_t>(id) >= limit; });
  const auto at = static_cast<std::size_t>(bad - out.begin());
  require_input(at == n,
                "{}: document {}: token {} is {}, expected an id below {}; the file was made "
                "with another tokenizer",
                data_->name(), part.stream, first + at, at < n ? *bad : 0, limit);
}

// Fills a sequence part by part.
class Dataset::Writer {
 public:
  Writer(const Dataset& dataset, const SequenceView& out) : dataset_(dataset), out_(out) {}

  void add(const Part& part) {
    const Extent extent = dataset_.data_->find(part.stream);
    const Stream stream = dataset_.stream_of(extent.tokens);
    const std::uint64_t end = part.begin + part.count;
    require_input(end <= stream.tokens() && filled_ + part.count <= out_.tokens.size(),
                  "{}: document {} has no tokens {} to {}; remove its .layout files",
                  dataset_.data_->name(), part.stream, part.begin, end);
    const auto tokens = out_.tokens.subspan(filled_, part.count);
    const auto targets = out_.targets.subspan(filled_, part.count);
    dataset_.read_part(part, extent, stream, tokens);
    std::copy(tokens.begin() + 1, tokens.end(), targets.begin());
    targets.back() = -1;
    const bool goes_on = end < stream.tokens();
    if (goes_on) dataset_.read_part({end, part.stream, 1}, extent, stream, targets.last(1));
    valid_ += part.count - (goes_on ? 0 : 1);
    mark(part.count);
  }

  /// The rest is padding. Returns how many targets are not -1.
  std::int64_t finish() {
    const auto rest = static_cast<std::ptrdiff_t>(filled_);
    std::fill(out_.tokens.begin() + rest, out_.tokens.end(), dataset_.options_.end_of_text);
    std::fill(out_.targets.begin() + rest, out_.targets.end(), -1);
    mark(out_.tokens.size() - filled_);
    return valid_;
  }

 private:
  // The next `count` positions see each other and nothing else.
  void mark(std::size_t count) {
    for (std::size_t t = 0; t < count; ++t) {
      out_.positions[filled_ + t] = static_cast<std::int32_t>(t);
      out_.visibility[2 * (filled_ + t)] = static_cast<std::int32_t>(filled_);
      out_.visibility[2 * (filled_ + t) + 1] = static_cast<std::int32_t>(filled_ + count);
    }
    filled_ += count;
  }

  const Dataset& dataset_;
  const SequenceView& out_;
  std::size_t filled_ = 0;
  std::int64_t valid_ = 0;
};

std::int64_t Dataset::read(std::uint64_t index, const SequenceView& out) const {
  Writer writer(*this, out);
  layout_->visit(permuted(index), [&writer](const Part& part) { writer.add(part); });
  return writer.finish();
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
