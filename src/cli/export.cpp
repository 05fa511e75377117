#include <memory>

#include <fmt/format.h>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "train/model_directory.h"
#include "train/weights.h"

namespace bessemer::cli {
namespace {

struct ExportOptions {
  std::string from;
  std::string to;
};

int export_model(const ExportOptions& options) {
  const train::ModelDirectory model = train::open_model(options.from);
  require_input(dynamic_cast<const checkpoint::Checkpoint*>(model.tensors.get()) != nullptr,
                "{}: this is a Hugging Face directory already; expected a run or a checkpoint",
                options.from);
  train::write_hugging_face_model(model.architecture, *model.tensors, model.tokenizer, options.to);
  print(fmt::format("{}: {} ({} parameters)\n", options.to, model.description,
                    models::parameter_count(model.architecture)));
  return kDone;
}

}  // namespace

void add_export(CLI::App& app, Session& session) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* command = app.add_subcommand(
      "export", "Writes a run's model as a Hugging Face directory that transformers loads");
  command->add_option("DIR", options->from, "A run (its latest checkpoint) or a checkpoint")
      ->required()
      ->type_name("PATH");
  command->add_option("HF_DIR", options->to, "The directory to make")->required()->type_name("DIR");
  command->callback(
      [options, &session] { session.action = [options] { return export_model(*options); }; });
}

}  // namespace bessemer::cli
