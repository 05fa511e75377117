// Errors. The library never calls abort or exit: it throws one of the two types below, and the
// command line turns them into a message on standard error and an exit code.
//
//   InputError  the user's mistake (run file, command line, corpus, checkpoint): exit code 2.
//               The message names the place, what was found, what was expected and what to do.
//   Error       anything else, a defect of Bessemer included: exit code 1.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/core.h>

namespace bessemer {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class InputError : public Error {
 public:
  using Error::Error;
};

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
[[noreturn]] void fail_input(fmt::format_string<Args...> format, Args&&... args) {
  throw InputError(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws Error unless `condition`; for what a caller inside Bessemer must guarantee.
template <typename... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) fail(format, std::forward<Args>(args)...);
}

/// Throws InputError unless `condition`; for what the outside world must guarantee.
template <typename... Args>
void require_input(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) fail_input(format, std::forward<Args>(args)...);
}

}  // namespace bessemer
