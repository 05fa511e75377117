// One function a command, each in a file of its own: it declares the options and says what to do
// once they are read.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "base/log.h"

namespace bessemer::cli {

/// The group of commands that the help does not show.
inline constexpr const char* kHidden = "";

struct Session {
  std::optional<log::Level> log_level;  // --log-level
  std::optional<int> threads;           // --threads
  std::function<int()> action;          // what the command line asks for; gives the exit code
};

void add_train(CLI::App& app, Session& session);
void add_plan(CLI::App& app, Session& session);
void add_generate(CLI::App& app, Session& session);
void add_eval(CLI::App& app, Session& session);
void add_tokenizer(CLI::App& app, Session& session);
void add_data(CLI::App& app, Session& session);
void add_data_of_run(CLI::App& group, Session& session);  // which, stats and peek, in data
void add_import(CLI::App& app, Session& session);
void add_export(CLI::App& app, Session& session);
void add_inspect(CLI::App& app, Session& session);
void add_doctor(CLI::App& app, Session& session);

}  // namespace bessemer::cli
