#include "train/build_meter.h"

#include <unistd.h>

#include <fmt/format.h>

#include "base/log.h"

namespace bessemer::train {
namespace {

constexpr std::chrono::seconds kBetweenLogLines{30};

// Hours, minutes and seconds as they are needed.
std::string time_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
}

}  // namespace

BuildMeter::BuildMeter() : terminal_(::isatty(STDERR_FILENO) == 1) {}

BuildMeter::~BuildMeter() {
  if (shown_) fmt::print(stderr, "\r\033[K");
}

std::string BuildMeter::line(const data::BuildProgress& progress, double seconds) {
  const double share = static_cast<double>(progress.done) / static_cast<double>(progress.total);
  std::string text = fmt::format("{} {} {:3.0f}%", progress.stage, progress.source, 100 * share);
  const auto now_done = static_cast<double>(progress.done - progress.before);
  if (seconds <= 0 || now_done <= 0) return text;
  const double rate = now_done / seconds;
  if (progress.stage != "learn tokens") text += fmt::format("  {:.1f} MB/s", rate / 1e6);
  const auto left = static_cast<double>(progress.total - progress.done);
  return text + fmt::format("  {} left", time_text(left / rate));
}

void BuildMeter::operator()(const data::BuildProgress& progress) {
  if (progress.total == 0) return;
  const auto now = Clock::now();
  const std::string stage = fmt::format("{} {}", progress.stage, progress.source);
  if (stage != stage_) {
    stage_ = stage;
    start_ = logged_ = now;
  }
  const double seconds = std::chrono::duration<double>(now - start_).count();
  if (terminal_) {
    fmt::print(stderr, "\r\033[K{}", line(progress, seconds));
    shown_ = true;
  } else if (now - logged_ >= kBetweenLogLines) {
    log::info("{}", line(progress, seconds));
    logged_ = now;
  }
}

data::BuiltCorpus build_shown(data::BuildOptions options) {
  BuildMeter meter;
  options.progress = [&meter](const data::BuildProgress& progress) { meter(progress); };
  return data::build_corpus(options);
}

}  // namespace bessemer::train
