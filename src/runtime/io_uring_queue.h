// Requests through io_uring (Axboe, "Efficient IO with io_uring", 2019).
#pragma once

#include <memory>

#include "runtime/request_queue.h"

namespace bessemer::runtime {

/// Null where Bessemer was built without liburing or the kernel refuses a ring; the reason is
/// logged at debug level.
std::unique_ptr<RequestQueue> make_io_uring_queue();

}  // namespace bessemer::runtime
