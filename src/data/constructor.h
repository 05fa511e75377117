// Puts the micro-batches of one trainer group (the ranks that share a part of every step) together
// from the rows of its node.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>

#include "data/batch.h"
#include "data/node.h"

namespace bessemer::data {

/// For one thread.
class Constructor {
 public:
  /// Of the local-th of the node's ranks. The node must outlive it.
  Constructor(Node& node, std::int64_t local);

  struct Next {
    const GlobalBatch& batch;  // valid until the next call
    double wait_seconds;       // from the call to the return
    Wait wait;                 // of these, for rows that were not there yet
  };
  /// The next step's batch; a steady call allocates nothing. Throws what reading a row threw, at
  /// this call and every later one.
  Next next();

  /// Index of the first sequence, of all ranks, that next() has not given yet.
  std::uint64_t position() const;

 private:
  void assemble(Wait& wait);
  void fill(Batch& batch, std::int64_t m, Wait& wait);

  Node& node_;
  std::int64_t local_;
  std::uint64_t step_ = 0;  // given so far
  GlobalBatch batch_;
  std::exception_ptr failure_;
  std::chrono::steady_clock::time_point returned_{};  // from the last call
};

/// Why a rank waited for a source: what is to be read, how long it takes, what failed. For a line
/// of the log.
std::string wait_text(const Node& node, const Wait& wait);

}  // namespace bessemer::data
