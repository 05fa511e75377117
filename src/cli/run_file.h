// What commands that take a run file have in common.
#pragma once

#include <string>
#include <vector>

#include "cli/commands.h"
#include "config/run_config.h"
#include "passes/pass.h"

namespace bessemer::cli {

struct RunFileOptions {
  std::string path;
  std::vector<std::string> overrides;   // --set
  std::vector<std::string> dump_graph;  // --dump-graph
};

/// Adds RUN.toml, --set and --dump-graph.
void add_run_file(CLI::App& command, RunFileOptions& options);

/// Reads the run file, lets the global options overrule [log] level and [run] threads, and sets
/// both.
config::RunConfig load_run_file(const RunFileOptions& options, const Session& session);

/// The set of passes that `--dump-graph after:PASS` names. InputError lists the passes there are.
std::set<std::string> parse_dump_graph(const std::vector<std::string>& texts);

}  // namespace bessemer::cli
