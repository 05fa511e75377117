// Who reads the sequences of one source for one worker: here, or in a process (row_process.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/row.h"

namespace bessemer::data {

/// Used by one thread; `cancel` by any.
class RowReader {
 public:
  virtual ~RowReader() = default;

  /// Reads sequence `index` of the source and returns how many of its targets are not −1. Throws
  /// what went wrong; the next call starts afresh.
  virtual std::int64_t read(std::uint64_t index) = 0;

  /// What `read` has read; valid until it is called again.
  virtual SequenceView row() const = 0;

  /// Makes a `read` that is under way fail soon, and true; or false: this one cannot be ended.
  virtual bool cancel() = 0;

  /// Bytes that it holds, at their highest so far, in a process of its own: pages that others share
  /// (the program, the row) do not count. 0 where there is no such process. Any thread.
  virtual std::size_t process_memory() const { return 0; }
};

/// Reads in this process. A thread that hangs in the system cannot be ended.
class LocalReader final : public RowReader {
 public:
  explicit LocalReader(std::shared_ptr<const SequenceSource> source)
      : source_(std::move(source)), memory_(row_elements(source_->sequence_length())) {}

  std::int64_t read(std::uint64_t index) override {
    return source_->read(index, row_at(memory_.data(), source_->sequence_length()));
  }
  SequenceView row() const override { return row_at(memory_.data(), source_->sequence_length()); }
  bool cancel() override { return false; }

 private:
  std::shared_ptr<const SequenceSource> source_;
  mutable std::vector<std::int32_t> memory_;
};

}  // namespace bessemer::data
