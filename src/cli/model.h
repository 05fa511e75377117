// What commands that use a trained model have in common.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "cost/machine.h"
#include "data/tokenizer.h"
#include "runtime/executor.h"
#include "train/model_directory.h"

namespace bessemer::cli {

struct Model {
  train::ModelDirectory directory;
  data::Tokenizer tokenizer;
  std::optional<config::RunConfig> run;    // where the directory is one of our runs
  config::PrecisionConfig precision = {};  // of the run; fp32 elsewhere
};

/// Opens a run, a checkpoint or a Hugging Face directory with the tokenizer in it. InputError where
/// there is none, or it has more tokens than the model.
Model load_model(const std::filesystem::path& directory);

/// Adds the option --device, which is written as run.device is; empty where it is not given.
void add_device_option(CLI::App& command, std::string& device);

/// What a model runs on: what --device asks for, else what its run was trained on, else the
/// processor.
struct ModelPlace {
  cost::MachineDescription machine;  // to plan for
  runtime::ExecutorOptions options;
};
ModelPlace place_of(const Model& model, const std::string& device);

/// Sets the parameters of the executor's plan and what derives from them.
void load_weights(const Model& model, const runtime::Executor& executor);

}  // namespace bessemer::cli
