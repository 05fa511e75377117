// Sequences of fixed length, packed from documents.
//
// The documents of a set, each followed by an end-of-text token, form one stream. Sequence w is
// the window [w·T, (w+1)·T) of it; its targets are the same window one token later. Within a
// sequence, every document's part stands alone:
//
//   visibility  [start, end) of the part, in the sequence: what attention may see
//   positions   count from 0 in each part
//   targets     −1 behind a document's end-of-text token: that token is predicted, what follows
//               is not
//
// Token files built with Megatron's --append-eod hold the end-of-text tokens already; a sample of
// documents tells, and then none are added.
//
// Order: sequence N of a source with S sequences is window P(N mod S), P the permutation of
// (seed, source, epoch N div S). It is computed, never replayed.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data/indexed_dataset.h"
#include "data/split.h"

namespace bessemer::data {

/// Where a sequence of T tokens is written.
struct SequenceView {
  std::span<std::int32_t> tokens, targets, positions;  // [T]
  std::span<std::int32_t> visibility;                  // [T, 2]
};

/// An endless supply of sequences, each a function of its index. Any number of threads.
class SequenceSource {
 public:
  virtual ~SequenceSource() = default;
  virtual std::int64_t sequence_length() const = 0;

  /// Writes sequence `index` and returns how many of its targets are not −1.
  virtual std::int64_t read(std::uint64_t index, const SequenceView& out) const = 0;
};

enum class Order { shuffled, corpus };

/// Tokens behind the last whole sequence: `drop` leaves them out (unless there is no whole one),
/// `pad` gives a last sequence filled up with end-of-text tokens that are not predicted.
enum class Tail { drop, pad };

struct DatasetOptions {
  std::int64_t sequence_length = 0;
  std::int32_t end_of_text = 0;
  std::int32_t vocabulary = 0;  // ids are below it; checked as they are read
  std::uint64_t seed = 0;
  std::uint32_t source = 0;  // sources of one mixture differ in it
  Order order = Order::shuffled;
  Tail tail = Tail::drop;
};

class Dataset final : public SequenceSource {
 public:
  /// InputError where the documents have no two tokens to predict from.
  Dataset(std::shared_ptr<const IndexedDataset> tokens, DocumentSet documents,
          DatasetOptions options);

  std::int64_t sequence_length() const override { return options_.sequence_length; }
  std::int64_t read(std::uint64_t index, const SequenceView& out) const override;

  /// Sequences of one epoch.
  std::uint64_t sequences() const { return sequences_; }

  /// Tokens of the stream, end-of-text tokens included.
  std::uint64_t tokens() const { return offsets_.back(); }

  /// The window that sequence `index` is.
  std::uint64_t window(std::uint64_t index) const;

 private:
  bool holds_end_of_text() const;
  std::uint64_t stored_length(std::size_t i) const;
  void read_part(std::size_t i, std::uint64_t begin, std::span<std::int32_t> out) const;

  std::shared_ptr<const IndexedDataset> data_;
  DocumentSet documents_;
  DatasetOptions options_;
  std::vector<std::uint64_t> offsets_;  // in the stream, of each document of the set, and the end
  std::uint64_t sequences_ = 0;
};

}  // namespace bessemer::data
