#include "runtime/io_uring_queue.h"

#include "base/error.h"
#include "base/log.h"

#if BESSEMER_HAS_URING

#include <cerrno>
#include <cstring>

#include <liburing.h>

namespace bessemer::runtime {
namespace {

class IoUringQueue final : public RequestQueue {
 public:
  static constexpr unsigned kDepth = 8;

  IoUringQueue() : refused_(::io_uring_queue_init(kDepth, &ring_, 0)) {}
  ~IoUringQueue() override {
    if (refused_ == 0) ::io_uring_queue_exit(&ring_);
  }

  /// 0, or the negative errno of the kernel's refusal.
  int refused() const { return refused_; }

  std::size_t depth() const override { return kDepth; }

  void submit(std::size_t slot, const FileRequest& request) override {
    io_uring_sqe* entry = ::io_uring_get_sqe(&ring_);
    require(entry != nullptr, "more than {} file requests at once", kDepth);
    const auto bytes = static_cast<unsigned>(request.bytes);
    if (request.kind == FileRequest::Kind::read) {
      ::io_uring_prep_read(entry, request.descriptor, request.memory, bytes, request.offset);
    } else {
      ::io_uring_prep_write(entry, request.descriptor, request.memory, bytes, request.offset);
    }
    ::io_uring_sqe_set_data64(entry, slot);
    const int submitted = ::io_uring_submit(&ring_);
    if (submitted != 1) fail("io_uring_submit: {}", std::strerror(-submitted));
  }

  FileCompletion wait() override {
    io_uring_cqe* entry = nullptr;
    int result = 0;
    do {
      result = ::io_uring_wait_cqe(&ring_, &entry);
    } while (result == -EINTR);
    if (result != 0) fail("io_uring_wait_cqe: {}", std::strerror(-result));
    const FileCompletion done{static_cast<std::size_t>(::io_uring_cqe_get_data64(entry)),
                              entry->res};
    ::io_uring_cqe_seen(&ring_, entry);
    return done;
  }

 private:
  io_uring ring_{};
  int refused_;
};

}  // namespace

std::unique_ptr<RequestQueue> make_io_uring_queue() {
  auto queue = std::make_unique<IoUringQueue>();
  if (queue->refused() == 0) return queue;
  log::debug("no io_uring ({}); files are read and written by pread and pwrite",
             std::strerror(-queue->refused()));
  return nullptr;
}

}  // namespace bessemer::runtime

#else

namespace bessemer::runtime {

std::unique_ptr<RequestQueue> make_io_uring_queue() {
  log::debug("built without liburing; files are read and written by pread and pwrite");
  return nullptr;
}

}  // namespace bessemer::runtime

#endif
