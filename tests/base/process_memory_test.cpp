#include "base/process_memory.h"

#include <cstring>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace bessemer {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

char* resident(std::size_t bytes, int sharing) {
  void* at =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, /*fd=*/-1, /*at=*/0);
  if (at == MAP_FAILED) ::_exit(1);
  std::memset(at, 1, bytes);
  return static_cast<char*>(at);
}

// A process that holds 32 MiB for a while, then 8, beside 16 that are made to be shared.
TEST(ProcessMemory, OfAProcessAndWhatIsLeftOfItWhenItHasEnded) {
  int ready[2], go[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(go), 0);
  const ::pid_t child = ::fork();
  if (child == 0) {
    char* most = resident(32 * kMiB, MAP_PRIVATE);
    ::munmap(most, 24 * kMiB);
    resident(16 * kMiB, MAP_SHARED);
    char byte = 0;
    ::close(go[1]);
    if (::write(ready[1], "!", 1) == 1 && ::read(go[0], &byte, 1) == 0) ::_exit(0);
    ::_exit(1);
  }
  ASSERT_GT(child, 0);
  ::close(go[0]);
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const ProcessWatch watch(child);
  const ProcessMemory memory = watch.look();
  EXPECT_GE(memory.shared, 16 * kMiB);
  EXPECT_LT(memory.shared, 20 * kMiB);
  EXPECT_GE(memory.peak, memory.resident);
  EXPECT_EQ(memory.own(), memory.peak - memory.files - memory.shared);
  EXPECT_GE(memory.resident, 24 * kMiB);
  ::close(go[1]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(watch.look().resident, 0u) << "it has ended";
  EXPECT_EQ(watch.look().own(), 0u);
  for (const int descriptor : ready) ::close(descriptor);
}

TEST(ProcessMemory, OfThisProcessGrowsWithWhatItHolds) {
  const ProcessWatch watch;
  const std::size_t before = watch.look().resident;
  char* at = resident(16 * kMiB, MAP_PRIVATE);
  EXPECT_GT(watch.look().resident, before + 12 * kMiB);
  EXPECT_GE(watch.look().peak, watch.look().resident);
  ::munmap(at, 16 * kMiB);
}

}  // namespace
}  // namespace bessemer
