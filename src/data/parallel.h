// Parallel loops whose body may throw.
#pragma once

#include <cstdint>
#include <exception>
#include <mutex>

#include "base/parallel.h"

namespace bessemer::data {

/// Calls body(index, thread) for every index of [0, n), and throws what the first of them threw.
template <typename Body>
void parallel_throwing(std::int64_t n, const Body& body) {
  std::exception_ptr failure;
  std::mutex mutex;
  parallel_items(n, [&](std::int64_t index, int thread) {
    try {
      body(index, thread);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (failure == nullptr) failure = std::current_exception();
    }
  });
  if (failure != nullptr) std::rethrow_exception(failure);
}

}  // namespace bessemer::data
