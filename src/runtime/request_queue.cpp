#include "runtime/request_queue.h"

#include <cerrno>

#include <unistd.h>

#include "runtime/io_uring_queue.h"

namespace bessemer::runtime {
namespace {

class SystemCallQueue final : public RequestQueue {
 public:
  std::size_t depth() const override { return 1; }

  void submit(std::size_t slot, const FileRequest& request) override {
    const auto offset = static_cast<off_t>(request.offset);
    const ssize_t n = request.kind == FileRequest::Kind::read
                          ? ::pread(request.descriptor, request.memory, request.bytes, offset)
                          : ::pwrite(request.descriptor, request.memory, request.bytes, offset);
    done_ = {slot, n < 0 ? -std::int64_t{errno} : n};
  }

  FileCompletion wait() override { return done_; }

 private:
  FileCompletion done_;
};

}  // namespace

std::unique_ptr<RequestQueue> make_system_call_queue() {
  return std::make_unique<SystemCallQueue>();
}

std::unique_ptr<RequestQueue> make_request_queue() {
  if (auto ring = make_io_uring_queue()) return ring;
  return make_system_call_queue();
}

}  // namespace bessemer::runtime
