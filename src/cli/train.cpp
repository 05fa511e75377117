#include <memory>

#include <fmt/format.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/run_file.h"
#include "train/trainer.h"

namespace bessemer::cli {
namespace {

struct TrainOptions {
  RunFileOptions run;
  std::string resume = "auto";
};

int train_run(const TrainOptions& options, const Session& session) {
  const config::RunConfig config = load_run_file(options.run, session);
  const train::Resume resume = train::parse_resume(options.resume);
  passes::RunnerOptions passes;
  passes.dump_after = parse_dump_graph(options.run.dump_graph);
  passes.dump = [](const std::string& pass, const std::string& text) {
    print(fmt::format("# after {}\n{}\n", pass, text));
    flush();
  };
  const train::RunEnd end = train::train(config, resume, passes);
  return end == train::RunEnd::stopped_by_signal ? kStoppedBySignal : kDone;
}

}  // namespace

void add_train(CLI::App& app, Session& session) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = app.add_subcommand(
      "train", "Trains a model as a run file says; goes on where a run was stopped");
  add_run_file(*command, options->run);
  command
      ->add_option("--resume", options->resume,
                   "auto: from the run's latest checkpoint if there is one; never: anew; or the "
                   "path of a checkpoint")
      ->type_name("auto|never|PATH")
      ->capture_default_str();
  command->callback([options, &session] {
    session.action = [options, &session] { return train_run(*options, session); };
  });
}

}  // namespace bessemer::cli
