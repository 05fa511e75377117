#include <unistd.h>

#include "base/parallel.h"
#include "kernels/kernel.h"

namespace bessemer::kernels {

std::string_view name_of(Backend backend) { return backend == Backend::cuda ? "cuda" : "cpu"; }

Machine Machine::detect() {
  Machine machine;
#if defined(__x86_64__)
  __builtin_cpu_init();
  machine.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  machine.avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  machine.avx512_bf16 = machine.avx512 && __builtin_cpu_supports("avx512bf16");
#endif
  machine.threads = thread_count();
  const long l2 = ::sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (l2 > 0) machine.l2_bytes = static_cast<std::size_t>(l2);
  return machine;
}

}  // namespace bessemer::kernels
