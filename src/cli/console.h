// Standard input and output as bytes.
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace bessemer::cli {

/// Whoever read our standard output has gone. No error: the command ends quietly.
class OutputClosed : public std::exception {
 public:
  const char* what() const noexcept override { return "standard output was closed"; }
};

/// Writes to standard output, buffered. OutputClosed where nobody reads it any more; InputError
/// where it cannot be written (a full disk).
void print(std::string_view text);
void flush();

/// All of standard input.
std::string read_standard_input();

}  // namespace bessemer::cli
