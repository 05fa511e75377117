#include "checkpoint/run_lock.h"

#include <array>
#include <cerrno>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"

namespace bessemer::checkpoint {
namespace {

std::string reason(int code) { return std::generic_category().message(code); }

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

RunLock::RunLock(const std::filesystem::path& run_directory) {
  const std::string path = (run_directory / "run.lock").string();
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  int code = errno;
  require_input(descriptor_ >= 0, "{}: cannot open: {}", path, reason(code));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    code = errno;
    const std::string holder = read_holder(descriptor_);
    ::close(descriptor_);
    require_input(code == EWOULDBLOCK, "{}: cannot lock: {}", path, reason(code));
    fail_input(
        "{}: another run works in this directory ({}); wait for it, stop it, or give this run "
        "another name",
        run_directory.string(), holder);
  }
  const std::string line = holder_line() + "\n";
  const bool written =
      ::ftruncate(descriptor_, 0) == 0 &&
      ::pwrite(descriptor_, line.data(), line.size(), 0) == static_cast<ssize_t>(line.size());
  if (!written) {
    code = errno;
    ::close(descriptor_);
    fail_input("{}: cannot write: {}", path, reason(code));
  }
}

RunLock::~RunLock() { ::close(descriptor_); }

}  // namespace bessemer::checkpoint
