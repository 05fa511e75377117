// Reads and writes of a file that are under way: by io_uring where the kernel has it and lets us,
// else by pread and pwrite one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace bessemer::runtime {

struct FileRequest {
  enum class Kind : std::uint8_t { read, write } kind = Kind::read;
  int descriptor = -1;
  std::size_t offset = 0;
  std::byte* memory = nullptr;
  std::size_t bytes = 0;
};

/// What became of a request. `result` is the number of bytes moved, which may be fewer than asked
/// for, or the negative errno.
struct FileCompletion {
  std::size_t slot = 0;
  std::int64_t result = 0;
};

/// Requests of one thread. `submit` and `wait` allocate nothing.
class RequestQueue {
 public:
  RequestQueue() = default;
  RequestQueue(const RequestQueue&) = delete;
  RequestQueue& operator=(const RequestQueue&) = delete;
  virtual ~RequestQueue() = default;

  /// Requests that may be under way at once; each has a slot below this number.
  virtual std::size_t depth() const = 0;
  virtual void submit(std::size_t slot, const FileRequest& request) = 0;
  /// The next one that is done. At least one must be under way.
  virtual FileCompletion wait() = 0;
};

/// The best there is on this machine.
std::unique_ptr<RequestQueue> make_request_queue();

/// Makes the queue that a user of a file sends its requests through; tests put faults in here.
using QueueFactory = std::unique_ptr<RequestQueue> (*)();

/// pread and pwrite, one at a time.
std::unique_ptr<RequestQueue> make_system_call_queue();

}  // namespace bessemer::runtime
