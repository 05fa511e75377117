// How --help looks: options with their values, what they mean, and defaults in parentheses, in
// lines of at most a hundred columns.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace bessemer::cli {

class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_option_desc(const CLI::Option* option) const override;
  std::string make_subcommand(const CLI::App* command) const override;
};

/// Accepts numbers from `least` to `most`. Unlike CLI::Range it leaves the range out of the help,
/// where the description has it if it matters.
template <typename T>
CLI::Validator between(T least, T most) {
  return CLI::Range(least, most).description("");
}

}  // namespace bessemer::cli
