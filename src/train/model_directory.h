// A directory with a model in it: one of our runs, one of its checkpoints, or a Hugging Face model.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "checkpoint/tensor_source.h"
#include "models/architecture.h"

namespace bessemer::train {

struct ModelDirectory {
  models::Architecture architecture;
  std::filesystem::path tokenizer;  // empty where the directory has none
  std::unique_ptr<checkpoint::TensorSource> tensors;
  std::string description;  // "runs/first, step 300" or "hf-directory"
};

/// Opens a run directory (its latest checkpoint), a step_NNNNNN directory inside one, or a Hugging
/// Face directory. InputError says what was looked for where.
ModelDirectory open_model(const std::filesystem::path& directory);

}  // namespace bessemer::train
