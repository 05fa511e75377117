#include "base/parallel.h"

#include "base/error.h"

namespace bessemer {
namespace {
int g_threads = 0;
}

void set_thread_count(int count) {
  require(count >= 1, "thread count {}", count);
  g_threads = count;
  omp_set_num_threads(count);
}

int thread_count() {
  if (g_threads == 0) g_threads = omp_get_max_threads();
  return g_threads;
}

}  // namespace bessemer
