// The training loop.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "config/run_config.h"
#include "passes/pass.h"

namespace bessemer::train {

/// Where a run starts: from its latest checkpoint if there is one, always anew, or from a
/// checkpoint directory.
struct Resume {
  enum class Kind { automatic, never, path } kind = Kind::automatic;
  std::filesystem::path path;
};

/// "auto", "never" or a path.
Resume parse_resume(const std::string& text);

enum class RunEnd { done, stopped_by_signal };

/// Trains as `config` says and writes runs/NAME: run.toml, plan.txt, config.json, the tokenizer,
/// metrics.jsonl, checkpoints/. Prints progress on standard error and samples on standard output.
///
/// Stopped by SIGTERM or SIGINT, it finishes the step, saves and returns stopped_by_signal. A run
/// that goes on from a checkpoint equals the uninterrupted one bit for bit. InputError for the
/// user's mistakes, before anything is written where that can be known; Error after
/// train.max_skipped_steps steps in a row whose loss or gradient was not finite.
RunEnd train(const config::RunConfig& config, const Resume& resume,
             passes::RunnerOptions passes = {});

}  // namespace bessemer::train
