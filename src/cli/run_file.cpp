#include "cli/run_file.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "base/parallel.h"
#include "config/parse.h"
#include "passes/pipeline.h"

namespace bessemer::cli {

void add_run_file(CLI::App& command, RunFileOptions& options) {
  command.add_option("RUN", options.path, "The run file (docs/run-file.md)")
      ->required()
      ->type_name("FILE.toml");
  command
      .add_option("--set", options.overrides,
                  "Sets a key of the run file; repeat it for more: --set train.steps=100")
      ->type_name("section.key=value")
      ->allow_extra_args(false);
  command
      .add_option("--dump-graph", options.dump_graph,
                  "Prints the graphs as they are after that pass; repeat it for more")
      ->type_name("after:PASS")
      ->allow_extra_args(false);
}

config::RunConfig load_run_file(const RunFileOptions& options, const Session& session) {
  config::RunConfig config = config::load_run_config(options.path, options.overrides);
  if (session.log_level) config.log.level = *session.log_level;
  if (session.threads) config.run.threads = *session.threads;
  log::set_level(config.log.level);
  if (config.run.threads) set_thread_count(static_cast<int>(*config.run.threads));
  return config;
}

std::set<std::string> parse_dump_graph(const std::vector<std::string>& texts) {
  const std::vector<std::string> names = passes::pass_names();
  std::set<std::string> wanted;
  for (const std::string& text : texts) {
    constexpr std::string_view kAfter = "after:";
    const bool after = text.starts_with(kAfter);
    const std::string name = after ? text.substr(kAfter.size()) : text;
    const bool known = std::find(names.begin(), names.end(), name) != names.end();
    require_input(after && known, "--dump-graph {}: expected after:PASS, PASS one of {}", text,
                  fmt::join(names, ", "));
    wanted.insert(name);
  }
  return wanted;
}

}  // namespace bessemer::cli
