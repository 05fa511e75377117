// The rows of one node: every sequence that its ranks take is read once, by one set of source
// loaders, and waits in a slot until a constructor takes it. So memory, workers and open files
// grow with the number of sources, not with sources times ranks.
//
//   Planner ──► this (a thread that asks, in the planner's order, as far ahead as there is room)
//                 │ requests            ▲ rows
//                 ▼                     │
//              SourceLoader, one a source
//
// Which row is which is the planner's alone; when it was read, by whom and how often it had to be
// tried changes nothing. All slots are there from the beginning, so that what is predicted is what
// is used; how many of them are in use grows until nobody waits (prefetch.h).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/arena.h"
#include "data/planner.h"
#include "data/source_loader.h"

namespace bessemer::data {

struct NodeOptions {
  std::vector<std::int64_t> ranks{0};  // that it feeds, ascending
  std::uint64_t first_sequence = 0;    // where the first step begins
  std::size_t prefetch_bytes = 0;      // for rows; but prefetch_bounds() has a least
  WorkerPolicy workers;
  std::vector<int> most_workers;  // by source; absent: workers.most
  std::vector<SourceName> names;  // of the mixture's sources; absent: numbers
  /// A reader of a source, for one worker; absent: one in this process.
  std::function<std::shared_ptr<RowReader>(std::uint32_t source)> make_reader;
};

/// What a rank waited for during a step.
struct Wait {
  double seconds = 0;
  double longest = 0;  // for one row,
  int source = -1;     // which was of this source
};

class Node final : private RowSink {
 public:
  Node(Planner planner, NodeOptions options);
  ~Node() override;

  const Planner& planner() const { return planner_; }
  std::uint64_t first_sequence() const { return options_.first_sequence; }
  std::int64_t sequence_length() const { return length_; }
  std::int64_t ranks() const { return static_cast<std::int64_t>(options_.ranks.size()); }

  /// Copies a row of step `step` (from 0) to `out`, once, and returns how many of its targets are
  /// not −1: sequence b of micro-batch m of the local-th of ranks(). Waits until it is there, and
  /// adds that to `wait`. The ranks may be a step apart: one that is further ahead waits for the
  /// others. Throws what reading the row threw. Each rank has one thread; none must be left in here
  /// when this is destroyed.
  std::int64_t take(std::uint64_t step, std::int64_t local, std::int64_t m, std::int64_t b,
                    const SequenceView& out, Wait& wait);

  /// For the sizing: what a step of a rank took without waiting, and what it waited.
  void step_done(double seconds, double wait_seconds);

  SourceStatus status(std::uint32_t source) const { return loaders_[source]->status(); }
  const SourceName& name(std::uint32_t source) const { return loaders_[source]->name(); }
  std::size_t sources() const { return loaders_.size(); }

  /// Of each source, the rows that ranks have taken.
  std::vector<std::uint64_t> taken() const;

  /// Of all worker processes that there are now; 0 with threads. Allocates nothing.
  std::size_t process_memory() const;

  /// Rows that are read ahead, at most.
  std::size_t depth() const;

 private:
  struct Slot {
    enum class State { empty, asked, there, given_up } state = State::empty;
    std::uint64_t ticket = 0;
    std::uint32_t source = 0;
    std::int64_t valid = 0;
    std::exception_ptr cause;
  };
  void deliver(std::uint64_t ticket, const SequenceView& row, std::int64_t valid) override;
  void give_up(std::uint64_t ticket, std::exception_ptr cause) override;
  void ask_ahead();
  bool ask_step(std::uint64_t step);
  void resize();
  int most_workers(std::size_t source) const;
  void wait_for(std::unique_lock<std::mutex>& lock, std::uint64_t ticket, Wait& wait);
  std::size_t slot_of(std::uint64_t ticket) const { return ticket % slots_.size(); }
  SequenceView view(std::size_t slot) const;

  // A ticket is a row's place in the order in which rows are asked for; it has the slot of its
  // number modulo their number.
  Planner planner_;                // of the asking thread, as are
  std::vector<SourceLoad> loads_;  // the rows of the step planned last
  NodeOptions options_;
  std::int64_t length_;
  std::size_t rows_per_step_;
  PrefetchBounds bounds_;
  Arena rows_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable there_, room_;
  std::vector<Slot> slots_;
  std::size_t asked_ = 0;  // slots that are not empty
  std::size_t depth_;
  std::vector<std::uint64_t> taken_;
  double step_seconds_ = 0;  // of late
  bool waited_ = false;      // since resize() looked
  bool stop_ = false;
  std::exception_ptr plan_failure_;     // of the asking thread: nothing is asked for
  std::uint64_t plan_failed_from_ = 0;  // from this ticket on

  std::vector<std::unique_ptr<SourceLoader>> loaders_;
  std::thread asking_;
};

}  // namespace bessemer::data
