// CUDA's kernel language as plain C++: the threads of a block are fibers that take turns, one runs
// until all of the block, or of its warp, have to be somewhere. Blocks run one after the other.
//
// That a kernel is right here shows that its arithmetic and indices are right, and, with threads in
// two orders (thread_order), that its barriers are where they must be. It shows nothing of speed.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#include "base/dtype.h"
#include "kernels/cuda/device.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

namespace bessemer::kernels::cuda {

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};
inline thread_local Index3 threadIdx, blockIdx, blockDim, gridDim;

namespace null {

/// Error where no device takes such a launch.
void require_launchable(const Grid& grid);

/// Runs `thread` once for each thread of each block. Error where some threads of a block wait and
/// the others never come; and what a thread itself throws.
void run_grid(const Grid& grid, const std::function<void()>& thread);

/// Queues work on a stream of the null device; the null stream runs it now.
void queue(Stream stream, std::function<void()> work);

/// In which order the threads of a block take their turns. What a kernel gives must not depend on
/// it.
enum class ThreadOrder { forward, backward };
void set_thread_order(ThreadOrder order);

/// Returns when all live threads of the block, or of this one's warp, are here.
void wait_for_block();
void wait_for_warp();

/// All threads of the warp call it: shows `bytes` (at most kSlotBytes) of `mine` to the others.
/// Returns where those of lane 0 are; a lane's are kSlotBytes behind those of the one before. They
/// stay until this thread's next call but one.
inline constexpr std::size_t kSlotBytes = 32;
const std::byte* show_warp(const void* mine, std::size_t bytes);

/// The values of all lanes of the warp.
template <typename T>
class Shared {
 public:
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kSlotBytes);
  explicit Shared(const T& mine) : first_(show_warp(&mine, sizeof(T))) {}
  T operator[](int lane) const {
    T value;
    std::memcpy(&value, first_ + static_cast<std::size_t>(lane % kWarp) * kSlotBytes, sizeof(T));
    return value;
  }

 private:
  const std::byte* first_;
};

/// Copies that arrive at once where threads run backward, else when they are waited for: a kernel
/// must be right with either. From null come zeros.
void begin_copy(void* to, const void* from, std::size_t bytes);
void commit_copies();
void wait_copies(int pending);

void* shared_bytes();

}  // namespace null

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), const Grid& grid, Stream stream,
            Arguments... arguments) {
  null::require_launchable(grid);
  null::queue(stream, [=] { null::run_grid(grid, [&] { kernel(arguments...); }); });
}

inline void sync_block() { null::wait_for_block(); }
inline void sync_warp() { null::wait_for_warp(); }

template <typename T>
T shuffle(T value, int lane) {
  return null::Shared<T>(value)[lane];
}
template <typename T>
T shuffle_xor(T value, int lanes) {
  return shuffle(value, static_cast<int>(threadIdx.x % 32) ^ lanes);
}

inline unsigned match(int value) {
  const null::Shared<int> values(value);
  unsigned lanes = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane)
    lanes |= (values[static_cast<int>(lane)] == value ? 1u : 0u) << lane;
  return lanes;
}

inline BFloat16 to_bf16(float x) { return BFloat16(x); }
template <typename Format>
std::uint32_t to_fp8(float x0, float x1, float x2, float x3) {
  return fp8_codes<Format>(x0, x1, x2, x3);
}
template <typename Format>
void from_fp8(std::uint32_t codes, float (&x)[4]) {
  fp8_numbers<Format>(codes, x);
}
inline float exp2_approx(float x) { return std::exp2(x); }
inline float reciprocal_approx(float x) { return 1 / x; }

template <typename T>
T* shared_memory() {
  return static_cast<T*>(null::shared_bytes());
}

}  // namespace bessemer::kernels::cuda
