// A corpus that is tokenized as it is read: plain text or JSONL files, block by block.
//
// Preparing one reads the files through once, without tokenizing: it finds the blocks
// (block_table.h), and tokenizes the few records that validate. What it learns lies beside the
// token files of other sources, under a name that tells what it was made from:
//
//   NAME.raw.DIGEST.blocks                 where the records are
//   NAME.raw.DIGEST.counts                 what blocks gave that were read (block_counts.h)
//   NAME.raw.DIGEST.validation.bin, .idx   the documents that validate (.loss: with their mask)
//
// A record is a document. Which validate is a function of (seed, a record's number), as in split.h.
// Records that are empty or bad have a number and no tokens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/block_counts.h"
#include "data/block_table.h"
#include "data/build.h"
#include "data/dataset.h"
#include "data/document_encoder.h"

namespace bessemer::data {

struct RawSourceOptions {
  CorpusSource source;
  std::filesystem::path directory;  // of what is learned
  std::string text_key = "text";
  OnBadRecord on_bad_record = OnBadRecord::stop;
  std::filesystem::path tokenizer_path;
  std::shared_ptr<const Tokenizer> tokenizer;  // that of the path
  AddedTokens added_tokens = AddedTokens::as_text;
  double validation_fraction = 0;
  DatasetOptions dataset;         // its tail is always padded: a block loses no token
  std::uint64_t block_bytes = 0;  // 0: by the length of sequences
  std::function<void(const BuildProgress&)> progress;
};

/// A block, tokenized and packed.
struct TokenizedBlock {
  std::vector<std::int32_t> tokens;       // of all streams, end to end
  std::vector<std::uint8_t> trained;      // by token; empty: all
  std::vector<std::uint64_t> offsets{0};  // of streams, and the end
  std::vector<std::uint32_t> records;     // by stream, the number of its record
  std::unique_ptr<const Layout> layout;   // of offsets; null: the block has no sequence
  BlockSummary summary;

  std::size_t bytes() const;  // of memory, nearly
};

/// Any number of threads.
class RawSource {
 public:
  /// InputError where one of the files is compressed, and thus cannot be read from the middle on.
  static void check(const std::string& name, const std::vector<std::filesystem::path>& files);

  /// Scans the files where they were not scanned before. InputError for files that are compressed,
  /// or have no documents.
  static std::shared_ptr<const RawSource> prepare(const RawSourceOptions& options);

  /// As it was prepared; writes nothing. InputError where it was not, or the files have changed.
  static std::shared_ptr<const RawSource> open(const RawSourceOptions& options);

  const std::string& name() const { return options_.source.name; }
  const RawSourceOptions& options() const { return options_; }
  const BlockTable& table() const { return table_; }

  /// Of text, but for the last blocks of files and long documents.
  std::uint64_t block_bytes() const;

  /// That, where the options do not say. Longer sequences want longer blocks, so that the last
  /// sequence of each, which is not full, does not count.
  static std::uint64_t block_bytes_for(std::int64_t sequence_length);

  /// What all of it depends on, and the place of the files above, up to their last dot.
  const std::string& digest() const { return digest_; }
  const std::filesystem::path& prefix() const { return prefix_; }
  std::filesystem::path validation_prefix() const;

  /// The training documents of a block. InputError names a bad record, or a file that has changed.
  std::shared_ptr<const TokenizedBlock> tokenize(std::size_t block, DocumentEncoder& encoder) const;

  /// A record, found again.
  struct Document {
    std::string file;
    std::uint64_t offset = 0;  // where it begins in the file
    EncodedDocument tokens;    // with the end-of-text token, where it has one
  };
  Document document(std::uint64_t record) const;

 private:
  explicit RawSource(const RawSourceOptions& options);
  void scan();
  bool validates(std::uint64_t record) const;
  void pack(TokenizedBlock& block, std::size_t index) const;
  class Reader;
  class Scan;

  RawSourceOptions options_;
  std::vector<std::filesystem::path> files_;
  std::shared_ptr<const ChatTemplate> chat_;
  std::string digest_;
  std::filesystem::path prefix_;
  BlockTable table_;
};

}  // namespace bessemer::data
