// The command line. main() calls `run` and returns what it returns.
#pragma once

#include <string>

namespace bessemer::cli {

inline constexpr const char* kVersion = "0.1.0";

/// Exit codes: part of the surface, for scripts.
enum ExitCode : int {
  kDone = 0,
  kFailed = 1,            // a defect, or a run that diverged
  kUserError = 2,         // command line, run file, corpus, checkpoint, machine
  kStoppedBySignal = 75,  // the run has saved and goes on when started again (EX_TEMPFAIL)
};

/// Runs one command. Results go to standard output, everything else to standard error. Throws
/// nothing. Ignores SIGPIPE from then on: a reader that closes the pipe ends the command quietly.
int run(int argc, const char* const* argv);

/// The help of `bessemer` and of every command, one after the other: the whole surface.
std::string all_help();

}  // namespace bessemer::cli
