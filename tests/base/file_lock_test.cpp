#include "base/file_lock.h"

#include <csignal>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_directory.h"

namespace bessemer {
namespace {

TEST(FileLock, HasOneHolderAtATime) {
  const TemporaryDirectory place;
  const auto path = place.path() / "lock";
  FileLock first(path);
  {
    FileLock second(path);
    EXPECT_TRUE(first.try_lock());
    EXPECT_FALSE(second.try_lock());
    first.unlock();
    EXPECT_TRUE(second.try_lock());
    EXPECT_FALSE(first.try_lock());
  }
  EXPECT_TRUE(first.try_lock()) << "the other one is gone";
  EXPECT_EQ(read_file(path), "") << "the file stays";
}

TEST(FileLock, EndsWithTheProcessThatHoldsIt) {
  const TemporaryDirectory place;
  const auto path = place.path() / "lock";
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const ::pid_t child = ::fork();
  if (child == 0) {
    FileLock lock(path);
    lock.lock();
    if (::write(ready[1], "!", 1) == 1) ::pause();
    ::_exit(1);
  }
  ASSERT_GT(child, 0);
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  FileLock lock(path);
  EXPECT_FALSE(lock.try_lock());
  ::kill(child, SIGKILL);
  lock.lock();  // waits for the end of the other
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  for (const int descriptor : ready) ::close(descriptor);
}

TEST(FileLock, NamesAFileThatCannotBeOpened) {
  const TemporaryDirectory place;
  for (const auto& path : {place.path() / "nowhere" / "lock", place.path()}) {
    try {
      const FileLock lock(path);
      FAIL() << path;
    } catch (const InputError& error) {
      EXPECT_EQ(std::string(error.what()).find(path.string() + ": cannot open: "), 0u)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace bessemer
