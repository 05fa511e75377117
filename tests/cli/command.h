// Runs a command of the program in this process.
#pragma once

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/temporary_directory.h"
#include "cli/cli.h"

namespace bessemer::cli {

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

/// Each test has an empty directory of its own, which is the current one while it runs.
class CommandTest : public testing::Test {
 protected:
  void SetUp() override {
    before_ = std::filesystem::current_path();
    std::filesystem::current_path(directory());
  }
  void TearDown() override { std::filesystem::current_path(before_); }

  /// `input` becomes the standard input.
  Outcome run(const std::vector<std::string>& arguments, const std::string& input = "") {
    const std::filesystem::path stdin_file = directory() / ".stdin";
    write(stdin_file, input);
    const int saved = ::dup(STDIN_FILENO);
    const int given = ::open(stdin_file.c_str(), O_RDONLY);
    ::dup2(given, STDIN_FILENO);
    ::close(given);
    std::vector<const char*> argv{"bessemer"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Outcome outcome;
    outcome.code = cli::run(static_cast<int>(argv.size()), argv.data());
    outcome.out = testing::internal::GetCapturedStdout();
    outcome.err = testing::internal::GetCapturedStderr();
    ::dup2(saved, STDIN_FILENO);
    ::close(saved);
    std::filesystem::remove(stdin_file);
    return outcome;
  }

  static void write(const std::filesystem::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }

  /// Names of what lies in the test's directory, sorted.
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory())) {
      names.push_back(std::filesystem::relative(entry.path(), directory()).string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  const std::filesystem::path& directory() const { return temporary_.path(); }

 private:
  TemporaryDirectory temporary_;
  std::filesystem::path before_;
};

}  // namespace bessemer::cli
