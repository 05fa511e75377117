#include "train/metrics.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace bessemer::train {
namespace {

// The lines of `text` whose step is at most `last_step`, up to the first that is broken.
std::string lines_up_to(const std::string& text, std::int64_t last_step) {
  std::string kept;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;  // a line that was never finished
    const auto object =
        nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                              text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    const bool good =
        object.is_object() && object.contains("step") && object["step"].is_number_integer();
    if (!good || object["step"].get<std::int64_t>() > last_step) break;
    kept.append(text, begin, end - begin + 1);
    begin = end + 1;
  }
  return kept;
}

void append_number(fmt::memory_buffer& out, const char* key, double value) {
  if (std::isfinite(value)) {
    fmt::format_to(std::back_inserter(out), ",\"{}\":{}", key, value);
  } else {
    fmt::format_to(std::back_inserter(out), ",\"{}\":null", key);
  }
}

}  // namespace

MetricsFile::MetricsFile(const std::filesystem::path& path, std::int64_t last_step) : path_(path) {
  if (std::filesystem::exists(path)) {
    write_file_atomically(path, lines_up_to(read_file(path), last_step));
  }
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  require_input(descriptor_ >= 0, "{}: cannot open: {}", path.string(), std::strerror(errno));
}

MetricsFile::~MetricsFile() { ::close(descriptor_); }

void MetricsFile::write(const StepMetrics& m) {
  line_.clear();
  fmt::format_to(std::back_inserter(line_), "{{\"step\":{},\"tokens\":{}", m.step, m.tokens);
  append_number(line_, "loss", m.loss);
  append_number(line_, "learning_rate", m.learning_rate);
  append_number(line_, "grad_norm", m.gradient_norm);
  append_number(line_, "step_seconds", m.step_seconds);
  append_number(line_, "tokens_per_second", m.tokens_per_second);
  append_number(line_, "mfu", m.mfu);
  append_number(line_, "data_wait_seconds", m.data_wait_seconds);
  fmt::format_to(std::back_inserter(line_),
                 ",\"skipped\":{},\"peak_bytes_predicted\":{},\"peak_bytes_measured\":{}}}\n",
                 m.skipped, m.peak_bytes_predicted, m.peak_bytes_measured);
  const ssize_t n = ::write(descriptor_, line_.data(), line_.size());
  if (n != static_cast<ssize_t>(line_.size())) {
    fail_input("{}: cannot write: {}", path_.string(),
               n < 0 ? std::strerror(errno) : "the disk is full");
  }
}

ProgressLine::ProgressLine(std::int64_t steps, std::int64_t every)
    : steps_(steps), every_(every), terminal_(::isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::clear() {
  if (open_) std::fputc('\n', stderr);
  open_ = false;
}

double ProgressLine::seconds_left(const StepMetrics& m) {
  constexpr double kNew = 0.1;  // weight of the latest step in the average
  smoothed_seconds_ = smoothed_seconds_ == 0
                          ? m.step_seconds
                          : (1 - kNew) * smoothed_seconds_ + kNew * m.step_seconds;
  return smoothed_seconds_ * static_cast<double>(steps_ - m.step);
}

void ProgressLine::show(const StepMetrics& m) {
  const double left = seconds_left(m);
  const bool due = m.step == 1 || m.step == steps_ || (every_ > 0 && m.step % every_ == 0);
  if (!terminal_ && !due) return;
  constexpr double kGiB = 1 << 30;
  line_.clear();
  auto out = std::back_inserter(line_);
  if (terminal_) fmt::format_to(out, "\r\033[K");
  fmt::format_to(out, "step {}/{}  loss {:.4f}  lr {:.2e}  norm {:.3f}  {:.0f} tok/s", m.step,
                 steps_, m.loss, m.learning_rate, m.gradient_norm, m.tokens_per_second);
  if (m.mfu > 0) fmt::format_to(out, "  mfu {:.0f}%", 100 * m.mfu);
  fmt::format_to(out, "  memory {:.2f}/{:.2f} GiB  eta {}",
                 static_cast<double>(m.peak_bytes_measured) / kGiB,
                 static_cast<double>(m.peak_bytes_predicted) / kGiB, duration_text(left));
  if (m.skipped) fmt::format_to(out, "  skipped: loss or gradient not finite");
  if (terminal_ && !due) {
    open_ = true;
  } else {
    line_.push_back('\n');
    open_ = false;
  }
  std::fwrite(line_.data(), 1, line_.size(), stderr);
}

std::string duration_text(double seconds) {
  const auto s = static_cast<std::int64_t>(seconds + 0.5);
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace bessemer::train
