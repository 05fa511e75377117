// Batches, prepared one step ahead on a thread of their own.
//
// The whole state is one integer, the index of the next sequence: a loader started at N gives
// what one that has advanced to N gives. Buffers are made once; a steady `next` allocates nothing
// (the loader's own thread does, where it balances).
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "data/balance.h"
#include "data/dataset.h"

namespace bessemer::data {

/// What one accumulate pass eats on one rank: B sequences of T tokens, row-major.
struct Batch {
  std::vector<std::int32_t> tokens, targets, positions;  // [B, T]; see dataset.h
  std::vector<std::int32_t> visibility;                  // [B, T, 2]
  std::int64_t valid_tokens = 0;                         // targets that are not −1
};

/// This rank's part of one optimiser step.
struct GlobalBatch {
  std::vector<Batch> micro_batches;
  std::uint64_t first_sequence = 0;  // of the step, over all ranks
  std::int64_t valid_tokens = 0;     // of all micro-batches of this rank
};

struct LoaderOptions {
  std::int64_t micro_batch_size = 1;       // sequences
  std::int64_t micro_batches = 1;          // in a step, on this rank
  std::int64_t rank = 0, ranks = 1;        // of the data-parallel axis
  std::uint64_t first_sequence = 0;        // where to start: what position() gave
  Balance balance = Balance::round_robin;  // with several ranks
  SequenceCost cost = {};                  // what is balanced
};

/// A step takes micro_batch_size · micro_batches · ranks sequences; balance.h says which of them
/// each rank has. For one consuming thread.
class Loader {
 public:
  Loader(std::shared_ptr<const SequenceSource> source, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  struct Next {
    const GlobalBatch& batch;  // valid until the next call
    double wait_seconds;       // that the caller waited for it
  };
  /// The next step's batch. Throws what preparing it threw, at this call and every later one.
  Next next();

  /// Index of the first sequence that next() has not given yet.
  std::uint64_t position() const { return position_; }

  std::uint64_t sequences_per_step() const;

 private:
  void work();
  void fill(GlobalBatch& batch, std::uint64_t first);
  void balance_step(std::uint64_t first);

  std::shared_ptr<const SequenceSource> source_;
  LoaderOptions options_;
  BatchShape shape_;
  std::vector<std::uint32_t> order_;  // by place in the step, the sequence that stands there
  std::array<GlobalBatch, 2> buffers_;
  std::size_t front_ = 0;  // the caller's buffer; the thread has the other
  std::uint64_t position_;
  bool ready_ = false;  // the thread's buffer is full
  bool stop_ = false;
  std::exception_ptr failure_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace bessemer::data
