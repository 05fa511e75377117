// Sequences of fixed length, packed from documents.
//
// Each document of a set is followed by an end-of-text token; a layout (layout.h) says which
// tokens of which documents make a sequence. Within a sequence, every document's part stands alone:
//
//   targets     the document's next token; −1 behind its end-of-text token, for padding, and where
//               a loss mask says so
//   visibility  [start, end) of the part, in the sequence: what attention may see
//   positions   count from 0 in each part
//
// Token files built with Megatron's --append-eod hold the end-of-text tokens already; a sample of
// documents tells, and then none are added.
//
// Order: sequence N of a source with S sequences is sequence P(N mod S) of its layout, P the
// permutation of (seed, source, epoch N div S). It is computed, never replayed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/indexed_dataset.h"
#include "data/layout.h"
#include "data/loss_mask.h"
#include "data/split.h"

namespace bessemer::data {

/// Where a sequence of T tokens is written.
struct SequenceView {
  std::span<std::int32_t> tokens, targets, positions;  // [T]
  std::span<std::int32_t> visibility;                  // [T, 2]
};

/// Tokens [begin, begin + count) of a document of a source, the end-of-text token behind it
/// included.
struct Origin {
  std::uint32_t source = 0;
  std::uint32_t document = 0;
  std::uint64_t begin = 0;
  std::uint32_t count = 0;
};
using OriginVisitor = std::function<void(const Origin&)>;

/// An endless supply of sequences, each a function of its index. Any number of threads.
class SequenceSource {
 public:
  virtual ~SequenceSource() = default;
  virtual std::int64_t sequence_length() const = 0;

  /// Writes sequence `index` and returns how many of its targets are not −1.
  virtual std::int64_t read(std::uint64_t index, const SequenceView& out) const = 0;

  /// Where the tokens of sequence `index` are from, in order; no token is read.
  virtual void visit(std::uint64_t index, const OriginVisitor& visitor) const = 0;
};

enum class Order { shuffled, corpus };

struct DatasetOptions {
  std::int64_t sequence_length = 0;
  std::int32_t end_of_text = 0;
  std::int32_t vocabulary = 0;  // ids are below it; checked as they are read
  std::uint64_t seed = 0;
  std::uint32_t source = 0;  // sources of one mixture differ in it
  Order order = Order::shuffled;
  Packing packing = Packing::concatenate;
  Tail tail = Tail::drop;  // of concatenated documents

  /// Large layouts are kept in files (layout_file.h) whose names begin with this; where it is
  /// empty, or they cannot be written there, in memory.
  std::filesystem::path layouts = {};
};

/// The seed of what is drawn for an epoch of a source.
std::uint64_t epoch_seed(std::uint64_t seed, std::uint32_t source, std::uint64_t epoch);

/// Files of layouts of which `prefix` was DatasetOptions::layouts; for who replaces the tokens.
std::vector<std::filesystem::path> layout_files(const std::filesystem::path& prefix);

class Dataset final : public SequenceSource {
 public:
  /// `loss`, where given, says which of all tokens are trained. InputError where the documents have
  /// no two tokens to predict from.
  Dataset(std::shared_ptr<const IndexedDataset> tokens, DocumentSet documents,
          DatasetOptions options, std::shared_ptr<const LossMask> loss = nullptr);

  std::int64_t sequence_length() const override { return options_.sequence_length; }
  std::int64_t read(std::uint64_t index, const SequenceView& out) const override;
  void visit(std::uint64_t index, const OriginVisitor& visitor) const override;

  /// Sequences of one epoch.
  std::uint64_t sequences() const { return layout_->sequences(); }

  /// Tokens of the documents, end-of-text tokens included.
  std::uint64_t tokens() const { return layout_->tokens(); }

  /// Share of an epoch's positions without a token.
  double padding() const;

  /// Which sequence of the layout sequence `index` is.
  std::uint64_t permuted(std::uint64_t index) const;

 private:
  class DocumentStreams;
  class Reader;
  /// Tokens [begin, begin + stored) of a document, and whether an end-of-text token follows.
  struct Stream {
    std::uint64_t begin = 0, stored = 0;
    bool ends = false;
    std::uint64_t tokens() const { return stored + (ends ? 1 : 0); }
  };
  Stream stream_of(std::uint64_t document_tokens) const;
  bool holds_end_of_text() const;
  std::unique_ptr<const Layout> make_layout() const;
  std::string layout_digest(const LayoutOptions& options) const;

  std::shared_ptr<const IndexedDataset> data_;
  std::shared_ptr<const LossMask> loss_;  // null: all is trained
  DocumentSet documents_;
  DatasetOptions options_;
  bool stored_ends_ = false;              // the files hold the end-of-text tokens
  std::unique_ptr<const Layout> layout_;  // streams are documents of data_
};

}  // namespace bessemer::data
