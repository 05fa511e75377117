// Sequences that are a function of (seed, index), and sources that misbehave on purpose.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "base/error.h"
#include "base/rng.h"
#include "data/dataset.h"

namespace bessemer::testing {

/// One or two documents a sequence; the last target of each is not predicted.
class SyntheticSource : public data::SequenceSource {
 public:
  SyntheticSource(std::uint32_t seed, std::int64_t length) : seed_(seed), length_(length) {}

  std::int64_t sequence_length() const override { return length_; }

  std::int64_t read(std::uint64_t index, const data::SequenceView& out) const override {
    const CounterRng random(seed_, static_cast<std::uint32_t>(index), 1);
    const std::int64_t border = border_of(index);
    std::int64_t valid = 0;
    for (std::int64_t t = 0; t < length_; ++t) {
      const auto i = static_cast<std::size_t>(t);
      const std::int64_t begin = t < border ? 0 : border, end = t < border ? border : length_;
      out.tokens[i] = static_cast<std::int32_t>(random.word(i) >> 8);
      out.targets[i] = t + 1 < end ? static_cast<std::int32_t>(random.word(i + 1) >> 8) : -1;
      out.positions[i] = static_cast<std::int32_t>(t - begin);
      out.visibility[2 * i] = static_cast<std::int32_t>(begin);
      out.visibility[2 * i + 1] = static_cast<std::int32_t>(end);
      valid += out.targets[i] >= 0 ? 1 : 0;
    }
    return valid;
  }

  void visit(std::uint64_t index, const data::OriginVisitor& visitor) const override {
    const auto border = static_cast<std::uint32_t>(border_of(index));
    visitor({seed_, static_cast<std::uint32_t>(index), 0, border});
    const auto rest = static_cast<std::uint32_t>(length_) - border;
    if (rest > 0) visitor({seed_, static_cast<std::uint32_t>(index), border, rest});
  }

 private:
  std::int64_t border_of(std::uint64_t index) const {
    const auto word = CounterRng(seed_, static_cast<std::uint32_t>(index), 2).word(0);
    return 1 + static_cast<std::int64_t>(word % static_cast<std::uint64_t>(length_));
  }

  std::uint32_t seed_;
  std::int64_t length_;
};

/// Another source behind a counter of reads, faults and a gate.
class TroubledSource : public data::SequenceSource {
 public:
  explicit TroubledSource(std::shared_ptr<const data::SequenceSource> source)
      : source_(std::move(source)) {}

  std::int64_t sequence_length() const override { return source_->sequence_length(); }
  void visit(std::uint64_t index, const data::OriginVisitor& visitor) const override {
    source_->visit(index, visitor);
  }
  std::int64_t read(std::uint64_t index, const data::SequenceView& out) const override {
    {
      std::unique_lock lock(mutex_);
      const int before = reads_[index]++;
      if (const auto at = failures_.find(index); at != failures_.end() && before < at->second) {
        throw InputError("disk.bin: cannot read: Input/output error");
      }
      const bool hangs = before == 0 && hanging_.count(index) > 0;
      if (hangs || closed_) {
        ++waiting_;
        changed_.notify_all();
        changed_.wait(lock, [&] { return hangs ? released_ : !closed_; });
        --waiting_;
      }
    }
    return source_->read(index, out);
  }

  // What the sequence of an index does: fails so many times first, or hangs once until `release`.
  void fail(std::uint64_t index, int times) { failures_[index] = times; }
  void hang(std::uint64_t index) { hanging_.insert(index); }

  /// No read ends while the gate is closed.
  void close() { set(closed_, true); }
  void open() { set(closed_, false); }
  void release() { set(released_, true); }

  /// Returns once a read waits.
  void await_reader() const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ > 0; });
  }

  std::map<std::uint64_t, int> reads() const {
    const std::lock_guard lock(mutex_);
    return reads_;
  }

 private:
  void set(bool& what, bool value) {
    const std::lock_guard lock(mutex_);
    what = value;
    changed_.notify_all();
  }

  std::shared_ptr<const data::SequenceSource> source_;
  std::map<std::uint64_t, int> failures_;
  std::set<std::uint64_t> hanging_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable std::map<std::uint64_t, int> reads_;
  mutable int waiting_ = 0;
  bool closed_ = false, released_ = false;
};

}  // namespace bessemer::testing
