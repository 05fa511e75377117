// The thread team of the CPU kernels: OpenMP, shared with oneDNN so that the cores are never
// oversubscribed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <omp.h>

namespace bessemer {

/// Threads that kernels use; set once at start ([run] threads). Default: all cores.
void set_thread_count(int count);
int thread_count();

/// Calls body(begin, end) on contiguous parts of [0, n), one part a thread. Parts are at least
/// `grain` long, so that small work stays on the caller. The split depends only on n, grain and
/// the thread count. `body` must not throw and allocates nothing of ours.
template <typename Body>
void parallel_for(std::int64_t n, std::int64_t grain, const Body& body) {
  const std::int64_t most = grain > 0 ? (n + grain - 1) / grain : n;
  const int threads = static_cast<int>(most < thread_count() ? most : thread_count());
  if (threads <= 1) {
    if (n > 0) body(std::int64_t{0}, n);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const std::int64_t id = omp_get_thread_num();
    const std::int64_t parts = omp_get_num_threads();
    const std::int64_t begin = n * id / parts;
    const std::int64_t end = n * (id + 1) / parts;
    if (begin < end) body(begin, end);
  }
}

/// Calls body(index, thread) for every index of [0, n), handed out one at a time: for items of
/// unequal cost (attention tiles). `thread` is in [0, thread_count()).
template <typename Body>
void parallel_items(std::int64_t n, const Body& body) {
  if (n <= 1 || thread_count() == 1) {
    for (std::int64_t i = 0; i < n; ++i) body(i, 0);
    return;
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(thread_count())
  for (std::int64_t i = 0; i < n; ++i) body(i, omp_get_thread_num());
}

/// memcpy by the team, where there is enough for it.
inline void copy_bytes(void* to, const void* from, std::size_t bytes) {
  constexpr std::int64_t kGrainBytes = std::int64_t{1} << 20;
  parallel_for(static_cast<std::int64_t>(bytes), kGrainBytes,
               [&](std::int64_t begin, std::int64_t end) {
                 std::memcpy(static_cast<std::byte*>(to) + begin,
                             static_cast<const std::byte*>(from) + begin,
                             static_cast<std::size_t>(end - begin));
               });
}

}  // namespace bessemer
