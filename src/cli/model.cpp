#include "cli/model.h"

#include "base/error.h"
#include "config/parse.h"
#include "config/value.h"
#include "data/tokenizer_file.h"
#include "train/machine.h"
#include "train/weights.h"

namespace bessemer::cli {
namespace {

namespace fs = std::filesystem;

// The run file of a run directory, or of the run that a checkpoint directory belongs to.
std::optional<config::RunConfig> run_of(const fs::path& directory) {
  const fs::path run = fs::exists(directory / "state.json")
                           ? fs::weakly_canonical(directory).parent_path().parent_path()
                           : directory;
  if (!fs::exists(run / "run.toml")) return std::nullopt;
  return config::load_run_config(run / "run.toml");
}

std::optional<config::Device> parse_device(const std::string& text) {
  return config::to_device({.scalar = text});
}

}  // namespace

Model load_model(const fs::path& directory) {
  train::ModelDirectory opened = train::open_model(directory);
  require_input(!opened.tokenizer.empty(),
                "{}: no tokenizer beside the model; put the one it was trained with there",
                directory.string());
  data::Tokenizer tokenizer = data::load_tokenizer(opened.tokenizer);
  Model model{std::move(opened), std::move(tokenizer), run_of(directory)};
  if (model.run) model.precision = model.run->precision;
  require_input(model.tokenizer.vocabulary_size() <= model.directory.architecture.vocabulary,
                "{}: has {} tokens, the model {}; it belongs to another model",
                model.directory.tokenizer.string(), model.tokenizer.vocabulary_size(),
                model.directory.architecture.vocabulary);
  return model;
}

void add_device_option(CLI::App& command, std::string& device) {
  const auto is_one = [](const std::string& text) {
    return parse_device(text) ? "" : "expected cpu, cuda, cuda:N or auto";
  };
  command
      .add_option("--device", device,
                  "What computes: cpu, cuda, cuda:N or auto (the run's; else cpu)")
      ->type_name("DEVICE")
      ->check(CLI::Validator(is_one, ""));
}

ModelPlace place_of(const Model& model, const std::string& device) {
  config::Device found;
  if (!device.empty()) {
    found = train::resolve(*parse_device(device), "--device");
  } else if (model.run) {
    found = train::resolve(model.run->run.device,
                           "what the run was trained on (--device names another),");
  }
  ModelPlace place{cost::describe_here(), {}};
  if (found.kind == config::Device::Kind::cpu) return place;
  place.machine = train::known_machine(found);
  place.options.cuda_device = train::open_device(found);
  return place;
}

void load_weights(const Model& model, const runtime::Executor& executor) {
  train::read_parameters(model.directory.architecture, *model.directory.tensors,
                         train::into(executor));
  train::read_scales(*model.directory.tensors, executor);
  const auto refresh = executor.find("refresh");
  if (refresh.valid()) executor.run(refresh);
}

}  // namespace bessemer::cli
