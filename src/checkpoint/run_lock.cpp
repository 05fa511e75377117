#include "checkpoint/run_lock.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"

namespace bessemer::checkpoint {
namespace {

std::string holder_line() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return fmt::format("process {} on {}", ::getpid(), host.data());
}

std::string read_holder(int descriptor) {
  std::array<char, 512> text{};
  const ssize_t n = ::pread(descriptor, text.data(), text.size(), 0);
  std::string holder(text.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  holder = holder.substr(0, holder.find('\n'));
  return holder.empty() ? "another process" : holder;
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& run_directory) : lock_(run_directory / "run.lock") {
  if (!lock_.try_lock()) {
    fail_input(
        "{}: another run works in this directory ({}); wait for it, stop it, or give this run "
        "another name",
        run_directory.string(), read_holder(lock_.descriptor()));
  }
  const std::string line = holder_line() + "\n";
  const int file = lock_.descriptor();
  const bool written = ::ftruncate(file, 0) == 0 && ::pwrite(file, line.data(), line.size(), 0) ==
                                                        static_cast<ssize_t>(line.size());
  if (!written) fail_input("{}: cannot write: {}", lock_.path().string(), std::strerror(errno));
}

}  // namespace bessemer::checkpoint
