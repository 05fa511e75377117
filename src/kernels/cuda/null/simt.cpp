// Jumps between stacks are what fibers are made of; glibc's own checks take them for errors.
#undef _FORTIFY_SOURCE

#include "kernels/cuda/simt.cuh"

#include <array>
#include <csetjmp>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include <ucontext.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#include "base/error.h"
#include "kernels/cuda/null/memory.h"

namespace bessemer::kernels::cuda::null {
namespace {

constexpr std::size_t kStackBytes = std::size_t{256} << 10;
// What a device takes; the shared memory is that of compute capability 9.0.
constexpr std::int64_t kMostBlocks = (std::int64_t{1} << 31) - 1, kMostBlocksAcross = 65535;
constexpr int kMostThreads = 1024;
constexpr std::size_t kMostSharedBytes = std::size_t{227} << 10;
constexpr int kGarbage = 0xff;  // what shared memory holds at first: NaN, as floats

ThreadOrder order = ThreadOrder::forward;

/// Where threads wait for each other: as many as are alive.
struct Barrier {
  int alive = 0;
  int arrived = 0;
  int generation = 0;

  void open_if_complete() {
    if (arrived < alive || arrived == 0) return;
    arrived = 0;
    ++generation;
  }
};

/// A copy under way, of the `group`th group of its thread.
struct Copy {
  void* to;
  const void* from;  // null: zeros
  std::size_t bytes;
  int group;

  void arrive() const {
    if (from != nullptr) {
      std::memcpy(to, from, bytes);
    } else {
      std::memset(to, 0, bytes);
    }
  }
};

/// A stack that runs one thread after the other: begun once, then entered and left by jumps, which
/// unlike a change of context ask nothing of the system.
struct Fiber {
  std::jmp_buf place;
  ucontext_t beginning;  // here, not in a frame that nobody comes back to
  bool begun = false;
  std::unique_ptr<std::byte[]> stack;
  Barrier* waits_at = nullptr;
  int generation = 0;
  bool done = true;  // or never begun
  std::exception_ptr failure;
  void* sanitizer_stack = nullptr;
  int shows = 0;  // so far: tells which of two sets of slots is in use
  std::vector<Copy> copies;
  int groups = 0;  // committed so far

  bool can_run() const {
    return !done && (waits_at == nullptr || waits_at->generation != generation);
  }
};

struct Warp {
  Barrier barrier;
  alignas(16) std::array<std::array<std::array<std::byte, kSlotBytes>, kWarp>, 2> slots;
};

/// Runs the blocks of this operating-system thread.
class Block {
 public:
  void run(int threads, std::size_t shared, const std::function<void()>& thread) {
    begin(threads, shared);
    thread_ = &thread;
    for (int left = threads; left > 0;) {
      bool moved = false;
      for (int i = 0; i < threads; ++i) {
        const int t = order == ThreadOrder::forward ? i : threads - 1 - i;
        Fiber& fiber = *fibers_[static_cast<std::size_t>(t)];
        if (!fiber.can_run()) continue;
        moved = true;
        enter(t);
        left -= fiber.done ? 1 : 0;
        require(!fiber.done || fiber.copies.empty(), "a thread ended before its copies arrived");
      }
      require(moved, "{} threads of a block wait at barriers that the others never reach", left);
    }
  }

  void wait(Barrier& barrier) {
    Fiber& fiber = *fibers_[static_cast<std::size_t>(current_)];
    fiber.waits_at = &barrier;
    fiber.generation = barrier.generation;
    ++barrier.arrived;
    barrier.open_if_complete();
    while (!fiber.can_run()) leave(fiber);
    fiber.waits_at = nullptr;
  }

  Barrier& of_block() { return barrier_; }
  Warp& warp() { return warps_[static_cast<std::size_t>(current_ / kWarp)]; }
  Fiber& fiber() { return *fibers_[static_cast<std::size_t>(current_)]; }
  std::byte* shared() {
    require(shared_ != nullptr, "a kernel uses shared memory that its launch does not give");
    return shared_.get();
  }

 private:
  void begin(int threads, std::size_t shared) {
    shared_ = shared == 0 ? nullptr : new_memory(shared);
    if (shared_) std::memset(shared_.get(), kGarbage, shared);
    barrier_ = {threads, 0, 0};
    warps_.resize(static_cast<std::size_t>(threads / kWarp));
    for (Warp& warp : warps_) warp.barrier = {kWarp, 0, 0};
    while (fibers_.size() < static_cast<std::size_t>(threads)) {
      fibers_.push_back(std::make_unique<Fiber>());
      fibers_.back()->stack = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
    }
    for (int t = 0; t < threads; ++t) start(*fibers_[static_cast<std::size_t>(t)]);
  }

  static void start(Fiber& fiber) {
    if (!fiber.done) abandon(fiber);
    fiber.waits_at = nullptr;
    fiber.done = false;
    fiber.shows = 0;
    fiber.groups = 0;
    fiber.copies.clear();
  }

  // A thread that never came to its end: its stack begins anew, without the marks that its frames
  // have left with AddressSanitizer.
  static void abandon(Fiber& fiber) {
    fiber.begun = false;
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(fiber.stack.get(), kStackBytes);
#endif
  }

  void enter(int t);
  void leave(Fiber& fiber);
  static void begin_stack(Fiber& fiber);
  static void body();
  void run_thread(Fiber& fiber);

  std::jmp_buf scheduler_;
  void* scheduler_sanitizer_stack_ = nullptr;
  const void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_bytes_ = 0;
  const std::function<void()>* thread_ = nullptr;
  int current_ = 0;
  Barrier barrier_;
  std::vector<Warp> warps_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  Memory shared_;
};

thread_local Block block;

// AddressSanitizer follows a change of stacks where it is told.
void tell_switch([[maybe_unused]] void** keep, [[maybe_unused]] const void* stack,
                 [[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(keep, stack, bytes);
#endif
}
void tell_arrival([[maybe_unused]] void* kept, [[maybe_unused]] const void** from,
                  [[maybe_unused]] std::size_t* bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(kept, from, bytes);
#endif
}

void Block::enter(int t) {
  current_ = t;
  threadIdx = {static_cast<unsigned>(t), 0, 0};
  Fiber& fiber = *fibers_[static_cast<std::size_t>(t)];
  tell_switch(&scheduler_sanitizer_stack_, fiber.stack.get(), kStackBytes);
  if (_setjmp(scheduler_) == 0) {
    if (fiber.begun) _longjmp(fiber.place, 1);
    begin_stack(fiber);
  }
  tell_arrival(scheduler_sanitizer_stack_, nullptr, nullptr);
  Fiber& left = this->fiber();
  if (left.failure) std::rethrow_exception(std::exchange(left.failure, nullptr));
}

void Block::leave(Fiber& fiber) {
  tell_switch(&fiber.sanitizer_stack, scheduler_stack_, scheduler_stack_bytes_);
  if (_setjmp(fiber.place) == 0) _longjmp(scheduler_, 1);
  tell_arrival(fiber.sanitizer_stack, nullptr, nullptr);
}

void Block::begin_stack(Fiber& fiber) {
  fiber.begun = true;
  ::getcontext(&fiber.beginning);
  fiber.beginning.uc_stack.ss_sp = fiber.stack.get();
  fiber.beginning.uc_stack.ss_size = kStackBytes;
  fiber.beginning.uc_link = nullptr;
  ::makecontext(&fiber.beginning, &Block::body, 0);
  ::setcontext(&fiber.beginning);
}

void Block::body() {
  Block& own = block;
  tell_arrival(nullptr, &own.scheduler_stack_, &own.scheduler_stack_bytes_);
  Fiber& fiber = own.fiber();
  while (true) {
    own.run_thread(fiber);
    own.leave(fiber);
  }
}

void Block::run_thread(Fiber& fiber) {
  try {
    (*thread_)();
  } catch (...) {
    fiber.failure = std::current_exception();
  }
  fiber.done = true;
  for (Barrier* barrier : {&barrier_, &warp().barrier}) {
    --barrier->alive;
    barrier->open_if_complete();
  }
}

}  // namespace

void require_launchable(const Grid& grid) {
  require(0 < grid.x && grid.x <= kMostBlocks && 0 < grid.y && grid.y <= kMostBlocksAcross &&
              0 < grid.z && grid.z <= kMostBlocksAcross,
          "a grid of {} x {} x {} blocks", grid.x, grid.y, grid.z);
  require(grid.threads > 0 && grid.threads % kWarp == 0 && grid.threads <= kMostThreads,
          "a block of {} threads: expected a multiple of {} up to {}", grid.threads, kWarp,
          kMostThreads);
  require(grid.shared_bytes <= kMostSharedBytes, "{} bytes of shared memory: a block has up to {}",
          grid.shared_bytes, kMostSharedBytes);
}

void run_grid(const Grid& grid, const std::function<void()>& thread) {
  gridDim = {static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
             static_cast<unsigned>(grid.z)};
  blockDim = {static_cast<unsigned>(grid.threads), 1, 1};
  for (unsigned z = 0; z < gridDim.z; ++z) {
    for (unsigned y = 0; y < gridDim.y; ++y) {
      for (unsigned x = 0; x < gridDim.x; ++x) {
        blockIdx = {x, y, z};
        block.run(grid.threads, grid.shared_bytes, thread);
      }
    }
  }
}

void set_thread_order(ThreadOrder wanted) { order = wanted; }

void wait_for_block() { block.wait(block.of_block()); }
void wait_for_warp() { block.wait(block.warp().barrier); }

const std::byte* show_warp(const void* mine, std::size_t bytes) {
  Warp& warp = block.warp();
  // Two sets take turns: who is at its next show must not overwrite what others still read.
  auto& slots = warp.slots[static_cast<std::size_t>(block.fiber().shows++ % 2)];
  std::memcpy(slots[threadIdx.x % kWarp].data(), mine, bytes);
  wait_for_warp();
  return slots[0].data();
}

void begin_copy(void* to, const void* from, std::size_t bytes) {
  Fiber& fiber = block.fiber();
  fiber.copies.push_back({to, from, bytes, fiber.groups});
  if (order == ThreadOrder::backward) fiber.copies.back().arrive();
}

void commit_copies() { ++block.fiber().groups; }

void wait_copies(int pending) {
  Fiber& fiber = block.fiber();
  std::erase_if(fiber.copies, [&](const Copy& copy) {
    if (copy.group >= fiber.groups - pending) return false;
    if (order == ThreadOrder::forward) copy.arrive();
    return true;
  });
}

void* shared_bytes() { return block.shared(); }

}  // namespace bessemer::kernels::cuda::null
