// How far a build of token files is, at what rate, and the time left: one line, rewritten in place
// at a terminal; elsewhere a log line every half minute.
#pragma once

#include <chrono>
#include <string>

#include "data/build.h"

namespace bessemer::train {

class BuildMeter {
 public:
  using Clock = std::chrono::steady_clock;

  BuildMeter();
  ~BuildMeter();
  BuildMeter(const BuildMeter&) = delete;
  BuildMeter& operator=(const BuildMeter&) = delete;

  void operator()(const data::BuildProgress& progress);

  /// The line for a stage that runs since so many seconds. What an earlier call did counts for the
  /// share, not for the rate.
  static std::string line(const data::BuildProgress& progress, double seconds);

 private:
  bool terminal_;
  bool shown_ = false;
  std::string stage_;  // and source
  Clock::time_point start_, logged_;
};

/// `build_corpus` with a meter.
data::BuiltCorpus build_shown(data::BuildOptions options);

}  // namespace bessemer::train
