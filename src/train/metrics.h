// What a run tells while it goes on: metrics.jsonl, one object a step, and the progress line.
// Writing a step allocates nothing after the first.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include <fmt/format.h>

namespace bessemer::train {

struct StepMetrics {
  std::int64_t step = 0;
  std::int64_t tokens = 0;  // trained on so far, this step included
  double loss = 0;          // nats a token
  double learning_rate = 0;
  double gradient_norm = 0;
  double step_seconds = 0;
  double tokens_per_second = 0;
  double mfu = 0;  // of the measured matmul peak; 0 where that is not known
  double data_wait_seconds = 0;
  bool skipped = false;
  std::size_t peak_bytes_predicted = 0;
  std::size_t peak_bytes_measured = 0;  // resident set, the highest since the run began, with
                                        // what processes that read data hold for themselves
};

/// Appends to RUN/metrics.jsonl. Not-finite numbers are written as null. InputError where the file
/// cannot be written.
class MetricsFile {
 public:
  /// Keeps the objects of steps up to `last_step` that are there and drops the rest, so that a
  /// resumed run goes on without a gap or a repeat.
  MetricsFile(const std::filesystem::path& path, std::int64_t last_step);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  void write(const StepMetrics& metrics);

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  fmt::memory_buffer line_;
};

/// "step 120/300  loss 3.2143  lr 8.4e-04  norm 0.61  12.3k tok/s  mfu 61%  memory 0.42/0.44 GiB
/// eta 0:31". At a terminal the line is rewritten at every step; elsewhere one is printed every
/// `every` steps.
class ProgressLine {
 public:
  ProgressLine(std::int64_t steps, std::int64_t every);
  ~ProgressLine();

  void show(const StepMetrics& metrics);

  /// Ends a line that stands open at the terminal, so that something else can be printed.
  void clear();

 private:
  double seconds_left(const StepMetrics& metrics);

  std::int64_t steps_;
  std::int64_t every_;
  bool terminal_;
  bool open_ = false;
  double smoothed_seconds_ = 0;
  fmt::memory_buffer line_;
};

/// "1:02:03" or "4:05".
std::string duration_text(double seconds);

}  // namespace bessemer::train
