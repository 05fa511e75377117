// Whole runs in a directory of their own.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <stdlib.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/temporary_directory.h"
#include "config/parse.h"
#include "cost/machine.h"
#include "train/machine.h"
#include "train/compile.h"
#include "train/trainer.h"

namespace bessemer::testing {

namespace fs = std::filesystem;

/// A temporary directory with a small text in it. While it lives, measurements of the machine are
/// read from it too, so that no test measures, and only errors are logged.
class RunPlace {
 public:
  RunPlace() {
    ::setenv("XDG_CACHE_HOME", (path() / "cache").c_str(), 1);
    cost::save(cost::describe_here(), train::calibration_path());
    log::set_level(log::Level::error);
    write_text();
  }
  RunPlace(const RunPlace&) = delete;
  RunPlace& operator=(const RunPlace&) = delete;
  ~RunPlace() {
    log::set_level(log::Level::info);
    ::unsetenv("XDG_CACHE_HOME");
  }

  const fs::path& path() const { return directory_.path(); }
  fs::path run(const std::string& name) const { return path() / "runs" / name; }

  /// A tiny llama with dropout and two micro-batches a step, in bf16, for `steps` steps; with
  /// `more` overrides ("section.key=value").
  config::RunConfig config(const std::string& name, int steps,
                           std::vector<std::string> more = {}) const {
    const std::string text = fmt::format(R"([model]
architecture = "llama"
layers = 2
hidden = 16
heads = 2
kv_heads = 1
ffn = 24
dropout = 0.1
[data]
path = "{0}/text.txt"
cache = "{0}/data"
sequence_length = 16
vocabulary = 280
[train]
name = "{1}"
directory = "{0}/runs"
steps = {2}
micro_batch_size = 2
global_batch_size = 4
evaluate_every = 0
[optimizer]
learning_rate = 1e-2
[precision]
recipe = "bf16"
[checkpoint]
every = 3
keep_last = 0
)",
                                         path().string(), name, steps);
    return config::parse_run_config(text, "run.toml", more);
  }

 private:
  void write_text() const {
    std::ofstream out(path() / "text.txt");
    for (int i = 0; i < 60; ++i) {
      out << "The " << i << " sheep of the " << (i * 7) % 13 << "th shepherd went over hill "
          << (i * i) % 17 << " and came to water.\n<|endoftext|>";
    }
  }

  TemporaryDirectory directory_;
};

/// The objects of metrics.jsonl, one a step.
inline std::vector<nlohmann::json> metrics_of(const fs::path& run) {
  std::vector<nlohmann::json> all;
  std::ifstream in(run / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) all.push_back(nlohmann::json::parse(line));
  return all;
}

/// The message of the Error of that type that `call` throws; "" where it throws none.
template <typename Type, typename Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Type& error) {
    return error.what();
  }
  return "";
}

}  // namespace bessemer::testing
