// Where the time of a training step goes: measured seconds of each instruction beside what the plan
// predicts.
#pragma once

#include <string>

#include "runtime/executor.h"

namespace bessemer::bench {

/// Runs the programs of a step `repetitions` times, instruction by instruction, and describes the
/// medians: seconds and share by (op, kernel), then by label of the costliest instructions. The
/// data inputs must be filled. Trains on: parameters change as in real steps.
std::string profile_step(const runtime::Executor& executor, int repetitions);

}  // namespace bessemer::bench
