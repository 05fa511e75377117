// Sequences of a raw source (raw_source.h), tokenized as they are read.
//
// Order: an epoch visits the blocks in a permutation of (seed, source, epoch); the sequences of a
// block, packed from its documents alone, follow each other in a permutation of (seed, source,
// epoch, block). It is a function of (seed, index): not of threads, nor of what was read before.
//
// At which index a block begins follows from how many sequences those in front of it give. That is
// learned as they are tokenized, and kept (block_counts.h): an index that was reached before is
// found in O(log blocks), one beyond costs tokenizing what is in front of it in the first epoch;
// after a whole epoch all is known.
//
// Tokenized blocks are kept in at most `kCacheBytes`, the last used ones, and always one. As many
// blocks as there are threads are tokenized at a time where an unknown one is reached. Processes
// that read the same source learn from each other, by the file of counts.
#pragma once

#include <cstdint>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "data/block_counts.h"
#include "data/dataset.h"
#include "data/raw_source.h"

namespace bessemer::data {

class RawDataset final : public SequenceSource {
 public:
  static constexpr std::size_t kCacheBytes = 32 << 20;

  RawDataset(std::shared_ptr<const RawSource> source, BlockCounts::Access access);
  ~RawDataset() override;

  std::int64_t sequence_length() const override { return options_.sequence_length; }

  /// InputError where a bad record stops, or a file has changed since its block was first read.
  std::int64_t read(std::uint64_t index, const SequenceView& out) const override;

  /// Origin::document is the number of a record. Tokenizes the block where it is not at hand.
  void visit(std::uint64_t index, const OriginVisitor& visitor) const override;

  /// Sequences of one epoch. Tokenizes all blocks that were never read.
  std::uint64_t sequences() const;

  /// Learns where sequence `index` is, so that reading it takes no longer than others: where it was
  /// not reached before, tokenizes what is in front of it.
  void reach(std::uint64_t index) const { locate(index); }

  /// Gives back the memory of what is kept of blocks; what of it is asked for again is made again.
  void forget_blocks() const;

  /// Of the blocks that were read so far.
  BlockTotals known() const;

  const RawSource& source() const { return *source_; }

 private:
  using Future = std::shared_future<std::shared_ptr<const TokenizedBlock>>;
  struct Cached {
    Future block;
    std::size_t bytes = 0;  // 0: it is being made
    std::uint64_t used = 0;
  };
  struct At {
    std::uint32_t block = 0;
    std::uint64_t epoch = 0, turn = 0;  // among the block's sequences in that epoch
  };
  struct Found;

  std::uint64_t block_at(std::uint64_t epoch, std::uint64_t place) const;
  void extend() const;
  bool whole() const { return starts_.size() == counts_.blocks() + 1; }
  void learn_more(std::unique_lock<std::mutex>& lock) const;
  const std::vector<std::uint64_t>& starts_of(std::uint64_t epoch) const;
  At locate(std::uint64_t index) const;
  Found find(std::uint64_t index) const;
  std::shared_ptr<const TokenizedBlock> tokenized(std::uint32_t block) const;
  std::shared_ptr<const TokenizedBlock> make(std::uint32_t block) const;
  void evict() const;

  std::shared_ptr<const RawSource> source_;
  DatasetOptions options_;
  mutable std::mutex mutex_;  // of all below
  mutable BlockCounts counts_;
  mutable std::vector<std::uint64_t> starts_{
      0};  // of epoch 0 by place, as far as known, and the end
  mutable std::map<std::uint64_t, std::vector<std::uint64_t>> later_;  // the same of other epochs
  mutable std::map<std::uint32_t, Cached> cache_;
  mutable std::size_t cached_bytes_ = 0;
  mutable std::uint64_t uses_ = 0;
  mutable std::vector<std::unique_ptr<DocumentEncoder>> idle_;
};

}  // namespace bessemer::data
