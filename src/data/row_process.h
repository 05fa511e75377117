// Rows read by another process, which a crash or a kill cannot take the trainer with.
//
// The process is a program of its own (posix_spawn, so that it is safe beside any threads; usually
// this same program under a hidden command), which gets what it needs in three descriptors:
//
//   3  a socket of packets: the index of a sequence comes in, a reply goes out
//   4  shared memory of one row (row.h), where it writes the sequence before it replies
//   5  a description of the source to open, in whatever form the two programs agree on
//
// It ends when the socket does, so it never outlives the one that started it.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/process_memory.h"
#include "data/row_reader.h"

namespace bessemer::data {

inline constexpr int kDescriptionDescriptor = 5;

/// What to start, and what it finds in descriptor 5.
struct RowProgram {
  std::string path;
  std::vector<std::string> arguments;
  std::string description;
};

/// Starts the process at the first read, and again at the first read after it died or was ended.
class ProcessReader final : public RowReader {
 public:
  ProcessReader(RowProgram program, std::int64_t sequence_length);
  ~ProcessReader() override;
  ProcessReader(const ProcessReader&) = delete;
  ProcessReader& operator=(const ProcessReader&) = delete;

  /// Throws what reading threw there, or an Error that tells how the process ended.
  std::int64_t read(std::uint64_t index) override;
  SequenceView row() const override;

  /// Kills the process.
  bool cancel() override;

  std::size_t process_memory() const override;

  /// Of the process, 0 where there is none now.
  pid_t process() const;

 private:
  void start();
  std::string end();

  RowProgram program_;
  std::int64_t length_;
  int memory_ = -1;  // descriptors
  int description_ = -1;
  int socket_ = -1;  // our end
  std::int32_t* row_ = nullptr;
  mutable std::mutex mutex_;  // guards what follows: only a process not waited for is killed
  pid_t process_ = 0;
  std::optional<ProcessWatch> watch_;  // of it
};

/// The other side: serves descriptors 3 and 4 until the socket ends. `open` gives the source, at
/// the first request; where it throws, the request has failed and the next one calls it again.
void serve_rows(const std::function<std::shared_ptr<const SequenceSource>()>& open);

}  // namespace bessemer::data
