// Reads the sequences of one source: a queue of requests, and workers that take from it.
//
// Faults. A read that throws, or whose process has died, is tried again after a pause, by the same
// worker with everything opened afresh where that is a process. A read that takes longer than the
// timeout is ended (a process is killed) or, where it cannot be ended (a thread that hangs in the
// system), left behind with its worker, and another worker does it. Reading is a function of the
// index, so what is delivered does not depend on any of this. A request that has failed
// `max_failures` times in a row is given up, with an error that names source, file and cause.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>

#include "data/prefetch.h"
#include "data/row_reader.h"

namespace bessemer::data {

/// For messages.
struct SourceName {
  std::string name;
  std::string file;
};

struct WorkerPolicy {
  int most = 1;                                // workers of one source
  std::chrono::milliseconds timeout{60'000};   // of one read
  int max_failures = 5;                        // of one request, in a row
  std::chrono::milliseconds first_pause{100};  // before the next try; doubles with each
};

/// Where rows go. Called by the workers.
class RowSink {
 public:
  virtual ~RowSink() = default;
  /// `row` is read only during the call.
  virtual void deliver(std::uint64_t ticket, const SequenceView& row, std::int64_t valid) = 0;
  virtual void give_up(std::uint64_t ticket, std::exception_ptr cause) = 0;
};

/// What a source's workers have been doing.
struct SourceStatus {
  SourceLoad load;             // rows_per_step is not known here
  double last_seconds = 0;     // of the row read last
  double longest_running = 0;  // seconds that a read under way has taken so far
  std::size_t waiting = 0;     // requests that no worker has begun
  int workers = 0;
  std::uint64_t rows = 0;      // delivered
  std::uint64_t failures = 0;  // reads that failed, stalls included
  std::uint64_t stalls = 0;    // reads that were ended, or left behind, because of the timeout
  std::string last_failure;    // what the last of them said
};

class SourceLoader {
 public:
  using MakeReader = std::function<std::shared_ptr<RowReader>()>;

  /// `requests` is the most there are at a time. The sink must outlive this.
  SourceLoader(SourceName name, MakeReader make_reader, WorkerPolicy policy, std::size_t requests,
               RowSink& sink);
  /// Ends what is being read. A thread that hangs for longer than the timeout is left behind.
  ~SourceLoader();
  SourceLoader(const SourceLoader&) = delete;
  SourceLoader& operator=(const SourceLoader&) = delete;

  const SourceName& name() const { return name_; }

  /// Asks for sequence `index` of the source. The first request starts the first worker.
  void request(std::uint64_t ticket, std::uint64_t index);

  /// How many workers there shall be; those who are too many end when they are idle.
  void set_workers(int count);

  /// Ends or replaces workers whose read has taken longer than the timeout; returns when to look
  /// again. For whoever waits for a row.
  std::chrono::steady_clock::time_point relieve();

  SourceStatus status() const;

  /// Of the processes of its workers, all together: RowReader::process_memory().
  std::size_t process_memory() const;

 private:
  struct Worker;
  struct State;
  static void work(const std::shared_ptr<State>& state, const std::shared_ptr<Worker>& worker);
  void start_workers();

  SourceName name_;
  std::shared_ptr<State> state_;  // shared with workers that were left behind
};

}  // namespace bessemer::data
