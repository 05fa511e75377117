#include "cli/console.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <unistd.h>

#include "base/error.h"

namespace bessemer::cli {
namespace {

[[noreturn]] void fail_to_write() {
  if (errno == EPIPE) throw OutputClosed();
  fail_input("standard output: cannot write: {}", std::strerror(errno));
}

}  // namespace

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) fail_to_write();
}

void flush() {
  if (std::fflush(stdout) != 0) fail_to_write();
}

std::string read_standard_input() {
  std::string text;
  char buffer[1 << 16];
  while (true) {
    const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (n == 0) return text;
    if (n > 0) {
      text.append(buffer, static_cast<std::size_t>(n));
    } else if (errno != EINTR) {
      fail_input("standard input: cannot read: {}", std::strerror(errno));
    }
  }
}

}  // namespace bessemer::cli
