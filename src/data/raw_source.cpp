#include "data/raw_source.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "data/indexed_dataset.h"
#include "data/loss_mask.h"
#include "data/manifest.h"
#include "data/split.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kPackingSite = 0xB10C;  // sets these draws apart from all others
constexpr std::uint64_t kLeastBlock = 1 << 20, kLargestBlock = 16 << 20;
constexpr std::uint64_t kBytesPerPosition = 1024;  // a few hundred sequences a block

std::string describe(const RawSourceOptions& options, const std::vector<fs::path>& files,
                     const ChatTemplate* chat) {
  const DatasetOptions& d = options.dataset;
  return fmt::format(
      "1 {} {} {} {} {} {} {} {} {} {} {} {}\n{}", digest_of(read_file(options.tokenizer_path)),
      chat != nullptr ? "chat " + chat->description() : "key " + options.text_key,
      static_cast<int>(options.on_bad_record), static_cast<int>(options.added_tokens),
      options.validation_fraction, d.sequence_length, d.end_of_text, d.seed, d.source,
      static_cast<int>(d.packing), RecordReader::kLongestText, options.block_bytes,
      describe_files(files));
}

std::uint64_t packing_seed(const DatasetOptions& options, std::uint64_t block) {
  const PhiloxCounter words = CounterRng(options.seed, options.source, kPackingSite).block(block);
  return std::uint64_t{words[0]} << 32 | words[1];
}

// By their ends in the block.
class BlockStreams final : public Streams {
 public:
  explicit BlockStreams(const std::vector<std::uint64_t>& offsets) : offsets_(offsets) {}

  std::uint64_t size() const override { return offsets_.size() - 1; }
  Stream at(std::uint64_t i) const override {
    return {static_cast<std::uint32_t>(i), offsets_[i + 1] - offsets_[i]};
  }
  void visit(const std::function<void(const Stream&)>& visitor) const override {
    for (std::uint64_t i = 0; i < size(); ++i) visitor(at(i));
  }

 private:
  const std::vector<std::uint64_t>& offsets_;
};

// Documents that validate, as token files.
class ValidationWriter {
 public:
  ValidationWriter(const fs::path& prefix, const Tokenizer& tokenizer, bool masked)
      : prefix_(prefix), type_(token_type_for(tokenizer.vocabulary_size())), masked_(masked) {}

  void add(const EncodedDocument& document) {
    if (document.ids.empty()) return;
    if (!tokens_) {
      tokens_.emplace(prefix_, type_);
      if (masked_) loss_.emplace(prefix_);
    }
    tokens_->append(document.ids);
    tokens_->end_document();
    if (loss_) loss_->append(document.trained);
  }

  /// What is there of an earlier scan that was not finished goes.
  void finish() {
    for (const fs::path& path : {bin_path(prefix_), idx_path(prefix_), loss_path(prefix_)}) {
      std::error_code ignored;
      fs::remove(path, ignored);
    }
    if (tokens_) tokens_->finish();
    if (loss_) loss_->finish();
  }

 private:
  fs::path prefix_;
  TokenType type_;
  bool masked_;
  std::optional<IndexedDatasetWriter> tokens_;
  std::optional<LossMaskWriter> loss_;
};

void warn_of_other_data(const fs::path& directory, const std::string& name) {
  std::error_code code;
  for (fs::directory_iterator it(directory, code), end; !code && it != end; it.increment(code)) {
    const std::string file = it->path().filename().string();
    if (!file.starts_with(name + ".raw.") || !file.ends_with(".blocks")) continue;
    log::warn(
        "source {}: its files, the tokenizer or settings are not those of an earlier run with this "
        "cache ({}): its sequences are others than they were",
        name, file);
    return;
  }
}

}  // namespace

std::size_t TokenizedBlock::bytes() const {
  return tokens.size() * sizeof(std::int32_t) + trained.size() +
         offsets.size() * (sizeof(std::uint64_t) + sizeof(std::uint32_t) + 2 * sizeof(Part));
}

std::uint64_t RawSource::block_bytes_for(std::int64_t sequence_length) {
  const auto length = static_cast<std::uint64_t>(sequence_length);
  return std::clamp(kBytesPerPosition * length, kLeastBlock, kLargestBlock);
}

std::uint64_t RawSource::block_bytes() const {
  return options_.block_bytes > 0 ? options_.block_bytes
                                  : block_bytes_for(options_.dataset.sequence_length);
}

void RawSource::check(const std::string& name, const std::vector<fs::path>& files) {
  for (const fs::path& file : files) {
    const auto extension = file.extension();
    require_input(extension != ".gz" && extension != ".zst",
                  "source {}: {} is compressed, and cannot be read from the middle on; decompress "
                  "it, or use tokenize = \"ahead\"",
                  name, file.string());
  }
}

RawSource::RawSource(const RawSourceOptions& options)
    : options_(options), files_(expand_path(options.source.path)) {
  check(name(), files_);
  options_.dataset.tail = Tail::pad;
  chat_ = chat_of(options_.source, files_, options_.text_key);
  digest_ = digest_of(describe(options_, files_, chat_.get()));
  prefix_ = options_.directory / fmt::format("{}.raw.{}", name(), digest_.substr(0, 12));
}

fs::path RawSource::validation_prefix() const { return prefix_.string() + ".validation"; }

std::shared_ptr<const RawSource> RawSource::open(const RawSourceOptions& options) {
  std::shared_ptr<RawSource> source(new RawSource(options));
  auto table = load_blocks(source->prefix_.string() + ".blocks");
  require_input(table.has_value(),
                "source {}: {}.blocks is not there: its files, the tokenizer or settings have "
                "changed since the run read it, or the cache was removed",
                source->name(), source->prefix_.string());
  source->table_ = std::move(*table);
  return source;
}

std::shared_ptr<const RawSource> RawSource::prepare(const RawSourceOptions& options) {
  std::shared_ptr<RawSource> source(new RawSource(options));
  if (auto table = load_blocks(source->prefix_.string() + ".blocks")) {
    source->table_ = std::move(*table);
    return source;
  }
  std::error_code code;
  fs::create_directories(options.directory, code);
  if (code) {
    fail_input("{}: cannot create the directory: {}", options.directory.string(), code.message());
  }
  warn_of_other_data(options.directory, source->name());
  source->scan();
  return source;
}

bool RawSource::validates(std::uint64_t record) const {
  return record == table_.validates ||
         split_draw(options_.dataset.seed, static_cast<std::uint32_t>(record)) <
             options_.validation_fraction;
}

// Records of one file as documents.
class RawSource::Reader {
 public:
  Reader(const RawSource& source, std::uint32_t file, DocumentEncoder& encoder)
      : options_(source.options_),
        format_(format_of(source.files_[file])),
        parser_(source.files_[file].string(), {.text_key = options_.text_key,
                                               .on_bad_record = options_.on_bad_record,
                                               .chat = source.chat_}),
        encoder_(encoder) {}

  /// False for a record that is empty, or bad and to be skipped.
  bool encode(const Record& record, EncodedDocument& out) {
    spans_.clear();
    const bool json = format_ == Format::jsonl;
    if (json && !parser_.parse(record.text, record.line, record.offset, text_, spans_)) {
      return false;
    }
    const std::string& text = json ? text_ : record.text;
    if (text.empty()) return false;
    text_bytes_ = text.size();
    encoder_.encode(text, spans_, options_.added_tokens, out);
    if (!record.ends_document) return true;
    out.ids.push_back(options_.dataset.end_of_text);
    if (!spans_.empty()) out.trained.push_back(0);
    return true;
  }

  std::uint64_t text_bytes() const { return text_bytes_; }  // of the last document
  std::uint64_t bad_records() const { return parser_.bad_records(); }

 private:
  const RawSourceOptions& options_;
  Format format_;
  RecordParser parser_;
  DocumentEncoder& encoder_;
  std::vector<TextSpan> spans_;
  std::string text_;
  std::uint64_t text_bytes_ = 0;
};

// Takes note of the draws of all records, and tokenizes those that validate.
class RawSource::Scan {
 public:
  explicit Scan(const RawSource& source)
      : source_(source),
        encoder_(*source.options_.tokenizer),
        writer_(source.validation_prefix(), *source.options_.tokenizer, source.chat_ != nullptr) {}

  void add(const Record& record, std::uint64_t number, std::uint32_t file) {
    const double draw =
        split_draw(source_.options_.dataset.seed, static_cast<std::uint32_t>(number));
    if (draw < smallest_) smallest_ = draw, first_ = number;
    if (draw >= source_.options_.validation_fraction) return;
    ++chosen_;
    if (!reader_ || file != file_) reader_.emplace(source_, file_ = file, encoder_);
    if (reader_->encode(record, document_)) writer_.add(document_);
  }

  /// Where no record drew it, that of the smallest draw validates.
  void finish(BlockTable& table) {
    require_input(chosen_ < table.records,
                  "source {}: all of its {} documents validate and none trains; lower "
                  "data.validation_fraction, or give more documents",
                  source_.name(), table.records);
    if (source_.options_.validation_fraction > 0 && chosen_ == 0) {
      if (table.records > 1) {
        table.validates = first_;
        writer_.add(source_.document(first_).tokens);
      } else {
        log::warn("source {}: its one document trains, and none validates", source_.name());
      }
    }
    writer_.finish();
  }

 private:
  const RawSource& source_;
  DocumentEncoder encoder_;
  ValidationWriter writer_;
  std::optional<Reader> reader_;
  std::uint32_t file_ = 0;
  EncodedDocument document_;
  double smallest_ = 2;
  std::uint64_t first_ = 0, chosen_ = 0;
};

void RawSource::scan() {
  std::uint64_t total = 0, reported = 0;
  for (const fs::path& file : files_) total += fs::file_size(file);
  Scan scan(*this);
  table_ = scan_blocks(
      files_, block_bytes(),
      [&](const Record& record, std::uint64_t number, std::uint32_t file) {
        scan.add(record, number, file);
      },
      [&](std::uint64_t bytes) {
        if (!options_.progress || bytes - reported < kLeastBlock) return;
        reported = bytes;
        options_.progress({"scan", name(), bytes, total});
      });
  scan.finish(table_);
  save_blocks(table_, prefix_.string() + ".blocks");
}

namespace {

/// The records of a block, from its bytes. InputError where the file has shrunk.
RecordReader block_reader(const FileReader& file, const fs::path& path, const Block& block,
                          std::string& bytes) {
  bytes.resize(block.bytes);
  file.read(block.offset, std::as_writable_bytes(std::span(bytes)));
  const bool last = block.offset + block.bytes == file.size();
  return RecordReader(memory_stream(bytes), format_of(path), block.offset, block.first_line,
                      last ? RecordReader::End::of_file : RecordReader::End::within_file);
}

void summarize(std::size_t tokens, BlockSummary& summary) {
  const auto bucket = static_cast<std::size_t>(std::bit_width(std::max<std::size_t>(tokens, 1)));
  ++summary.lengths[std::min(bucket - 1, kLengthBuckets - 1)];
  ++summary.documents;
}

}  // namespace

std::shared_ptr<const TokenizedBlock> RawSource::tokenize(std::size_t index,
                                                          DocumentEncoder& encoder) const {
  const Block& block = table_.blocks[index];
  const fs::path& path = files_[block.file];
  const FileReader file(path);
  std::string bytes;
  RecordReader records = block_reader(file, path, block, bytes);
  Reader reader(*this, block.file, encoder);
  auto out = std::make_shared<TokenizedBlock>();
  Record record;
  EncodedDocument document;
  std::uint64_t number = block.first_record;
  for (; records.next(record); ++number) {
    if (validates(number) || !reader.encode(record, document)) continue;
    out->tokens.insert(out->tokens.end(), document.ids.begin(), document.ids.end());
    out->trained.insert(out->trained.end(), document.trained.begin(), document.trained.end());
    out->offsets.push_back(out->tokens.size());
    out->records.push_back(static_cast<std::uint32_t>(number));
    out->summary.text_bytes += reader.text_bytes();
    summarize(document.ids.size(), out->summary);
  }
  require_input(
      number == block.first_record + block.records,
      "{}: {} documents from byte {} on, and there were {}: the file has changed while it "
      "is being read; start again",
      path.string(), number - block.first_record, block.offset, block.records);
  out->summary.bad_records = static_cast<std::uint32_t>(reader.bad_records());
  out->tokens.shrink_to_fit();  // it is kept
  out->trained.shrink_to_fit();
  pack(*out, index);
  return out;
}

void RawSource::pack(TokenizedBlock& block, std::size_t index) const {
  const DatasetOptions& d = options_.dataset;
  BlockSummary& summary = block.summary;
  summary.tokens = block.tokens.size();
  summary.trained =
      block.trained.empty()
          ? summary.tokens
          : static_cast<std::uint64_t>(std::count(block.trained.begin(), block.trained.end(), 1));
  if (block.tokens.size() < 2) return;
  block.layout = make_layout(BlockStreams(block.offsets),
                             {d.packing, d.sequence_length, d.tail, packing_seed(d, index)});
  summary.sequences = static_cast<std::uint32_t>(block.layout->sequences());
  summary.padding = block.layout->padding();
}

RawSource::Document RawSource::document(std::uint64_t number) const {
  const Block& block = table_.of(number);
  const fs::path& path = files_[block.file];
  const FileReader file(path);
  std::string bytes;
  RecordReader records = block_reader(file, path, block, bytes);
  Record record;
  for (std::uint64_t at = block.first_record; at <= number; ++at) {
    require_input(records.next(record), "{}: document {} is gone: the file has changed",
                  path.string(), number);
  }
  DocumentEncoder encoder(*options_.tokenizer);
  Document found{path.string(), record.offset, {}};
  Reader(*this, block.file, encoder).encode(record, found.tokens);
  return found;
}

}  // namespace bessemer::data
