#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/run_file.h"
#include "cost/cuda_devices.h"
#include "cost/machine.h"
#include "plan/plot.h"
#include "plan/report.h"
#include "train/machine.h"
#include "train/compile.h"
#include "train/corpus.h"
#include "train/memory_planner.h"
#include "train/memory_report.h"
#include "train/offload.h"
#include "train/resident.h"

namespace bessemer::cli {
namespace {

struct PlanOptions {
  RunFileOptions run;
  std::string machine;  // one that is not here; empty: this one
  bool json = false;
  std::string plot;  // a path; empty: no picture
};

cost::MachineDescription machine_of(const PlanOptions& options, const config::RunConfig& config) {
  if (options.machine.empty()) return train::known_machine(config.run.device);
  return cost::assumed_cuda_machine(options.machine, train::known_machine());
}

int plan_run(const PlanOptions& options, const Session& session) {
  const config::RunConfig asked = load_run_file(options.run, session);
  nlohmann::json graphs = nlohmann::json::array();
  passes::RunnerOptions passes;
  passes.dump_after = parse_dump_graph(options.run.dump_graph);
  passes.dump = [&](const std::string& pass, const std::string& text) {
    if (options.json) {
      graphs.push_back({{"after", pass}, {"text", text}});
    } else {
      print(fmt::format("# after {}\n{}\n", pass, text));
    }
  };
  passes::Runner runner(passes);
  const models::Architecture architecture =
      models::resolve(asked.model, train::planned_vocabulary(asked), asked.data.sequence_length);
  const cost::MachineDescription machine =
      train::with_file_rates(machine_of(options, asked), asked.memory, train::FileRates::cached);
  train::MemoryPlanner planner(asked, architecture, machine);
  const config::RunConfig config = planner.choose();
  const bool seen = !passes.dump_after.empty();  // what the planner makes, it makes unseen
  const train::CompiledRun run =
      seen ? train::compile_run(config, architecture, machine, runner) : planner.compile();
  const plan::ReportOptions report =
      train::report_options(config, run, train::resident_without_slack());
  if (options.json) {
    nlohmann::json json = plan::to_json(run.plan, report);
    json["parameters"] = models::parameter_count(architecture);
    json["frontier"] = train::frontier_json(planner.frontier());
    if (!graphs.empty()) json["graphs"] = std::move(graphs);
    print(json.dump(2) + "\n");
  } else {
    print(plan::describe(run.plan, report));
    print("\n" + train::frontier_text(planner.frontier()));
  }
  flush();
  if (!options.plot.empty()) {
    const std::string title = fmt::format("memory over a step of {}", config.train.name);
    write_file_atomically(options.plot, plan::memory_svg(plan::memory_timeline(run.plan),
                                                         run.plan.arena_bytes, title));
  }
  planner.check();
  return kDone;
}

}  // namespace

void add_plan(CLI::App& app, Session& session) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command = app.add_subcommand(
      "plan", "Shows where the memory and the time of a run will go; needs no data");
  add_run_file(*command, options->run);
  command
      ->add_option("--machine", options->machine,
                   fmt::format("Plans for a CUDA device that need not be here: {}",
                               fmt::join(cost::known_cuda_devices(), ", ")))
      ->type_name("NAME");
  command->add_flag("--json", options->json, "Prints the plan as one JSON object");
  command
      ->add_option("--plot", options->plot,
                   "Writes a picture of the memory over a step, by category, with its peak")
      ->type_name("FILE.svg");
  command->callback([options, &session] {
    session.action = [options, &session] { return plan_run(*options, session); };
  });
}

}  // namespace bessemer::cli
