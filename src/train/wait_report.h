// Where a run waited for its data: told as it happens, and summed up at the end.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "data/constructor.h"

namespace bessemer::train {

/// The first step of a run always waits and does not count.
class WaitReport {
 public:
  explicit WaitReport(const data::Node& node) : node_(node), waits_(node.sources()) {}

  /// After a step of `step_seconds`, this wait included. A line naming the source that was late and
  /// why, where the step had to wait noticeably and the last such line is a while ago; else "".
  std::string add(std::int64_t step, const data::Wait& wait, double step_seconds);

  /// What each source made the run wait, and what failed; "" where there is nothing to tell.
  std::string summary() const;

 private:
  struct OfSource {
    std::int64_t steps = 0;
    double seconds = 0;
  };
  const data::Node& node_;
  std::vector<OfSource> waits_;
  bool begun_ = false;
  std::chrono::steady_clock::time_point next_line_{};
};

}  // namespace bessemer::train
