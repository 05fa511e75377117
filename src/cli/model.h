// What commands that use a trained model have in common.
#pragma once

#include <filesystem>
#include <optional>

#include "data/tokenizer.h"
#include "runtime/executor.h"
#include "train/model_directory.h"

namespace bessemer::cli {

struct Model {
  train::ModelDirectory directory;
  data::Tokenizer tokenizer;
  std::optional<config::RunConfig> run;          // where the directory is one of our runs
  config::Recipe recipe = config::Recipe::fp32;  // of the run; fp32 elsewhere
};

/// Opens a run, a checkpoint or a Hugging Face directory with the tokenizer in it. InputError where
/// there is none, or it has more tokens than the model.
Model load_model(const std::filesystem::path& directory);

/// Sets the parameters of the executor's plan and what derives from them.
void load_weights(const Model& model, const runtime::Executor& executor);

}  // namespace bessemer::cli
