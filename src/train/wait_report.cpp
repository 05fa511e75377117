#include "train/wait_report.h"

#include <fmt/format.h>

#include "data/prefetch.h"

namespace bessemer::train {

std::string WaitReport::add(std::int64_t step, const data::Wait& wait, double step_seconds) {
  constexpr std::chrono::seconds kBetweenLines{10};
  if (!std::exchange(begun_, true)) return "";
  if (!data::is_noticeable(wait.seconds, step_seconds - wait.seconds)) return "";
  if (wait.source >= 0) {
    OfSource& source = waits_[static_cast<std::size_t>(wait.source)];
    ++source.steps;
    source.seconds += wait.seconds;
  }
  const auto now = std::chrono::steady_clock::now();
  if (now < next_line_) return "";
  next_line_ = now + kBetweenLines;
  return fmt::format("step {} waited {:.3g} s for data: {}", step, wait.seconds,
                     data::wait_text(node_, wait));
}

std::string WaitReport::summary() const {
  std::string text;
  for (std::size_t s = 0; s < waits_.size(); ++s) {
    const auto source = static_cast<std::uint32_t>(s);
    const data::SourceStatus status = node_.status(source);
    if (waits_[s].steps == 0 && status.failures == 0) continue;
    text += fmt::format("{}{}: {:.3g} s of waiting in {} steps, {} failed reads ({} stalled)",
                        text.empty() ? "" : "; ", node_.name(source).name, waits_[s].seconds,
                        waits_[s].steps, status.failures, status.stalls);
  }
  return text;
}

}  // namespace bessemer::train
