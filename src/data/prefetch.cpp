#include "data/prefetch.h"

#include <algorithm>
#include <cmath>

namespace bessemer::data {

PrefetchBounds prefetch_bounds(std::size_t rows, std::int64_t ranks, std::size_t row_bytes,
                               std::size_t bytes) {
  constexpr std::size_t kSteps = 256;
  const std::size_t least = rows * (ranks > 1 ? 2 : 1);
  return {least, std::max(least, std::min(bytes / row_bytes, kSteps * rows))};
}

bool is_noticeable(double wait_seconds, double step_seconds) {
  constexpr double kWaking = 1e-3;
  return wait_seconds > std::max(kWaking, step_seconds / 50);
}

int workers_for(const SourceLoad& source, double step_seconds, int present, int most) {
  constexpr double kSpare = 1.25;
  if (step_seconds <= 0) return std::clamp(present, 1, most);
  // In units of a worker that is always busy; above `most` it does not matter by how much.
  const double busy = std::min(source.rows_per_step * source.mean_seconds / step_seconds,
                               static_cast<double>(most));
  const int wanted = static_cast<int>(std::ceil(kSpare * busy));
  const bool keeps = wanted < present && 2 * busy > present - 1;
  return std::clamp(keeps ? present : wanted, 1, most);
}

std::size_t depth_for(std::span<const SourceLoad> sources, double step_seconds,
                      std::size_t rows_per_step, bool waited, std::size_t depth,
                      const PrefetchBounds& bounds) {
  const auto most = static_cast<double>(bounds.most);
  double rows = static_cast<double>(depth) * (waited ? 2 : 1);
  for (const SourceLoad& source : sources) {
    if (step_seconds <= 0) break;
    const double steps = 1 + std::ceil(source.longest_seconds / step_seconds);
    rows = std::max(rows, steps * static_cast<double>(rows_per_step));
  }
  return std::clamp(static_cast<std::size_t>(std::min(rows, most)), bounds.least, bounds.most);
}

}  // namespace bessemer::data
