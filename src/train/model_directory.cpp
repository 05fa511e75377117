#include "train/model_directory.h"

#include <fmt/format.h>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/hugging_face.h"
#include "data/tokenizer_file.h"

namespace bessemer::train {
namespace {

namespace fs = std::filesystem;

fs::path tokenizer_in(const fs::path& directory) {
  return data::find_tokenizer(directory).value_or(fs::path{});
}

ModelDirectory open_checkpoint(const fs::path& run, const fs::path& step) {
  auto opened = std::make_unique<checkpoint::Checkpoint>(step);
  ModelDirectory model;
  model.architecture = models::read_hugging_face_config(run / "config.json");
  model.tokenizer = tokenizer_in(run);
  model.description = fmt::format("{}, step {}", run.string(), opened->step());
  model.tensors = std::move(opened);
  return model;
}

}  // namespace

ModelDirectory open_model(const fs::path& directory) {
  require_input(fs::is_directory(directory), "{}: no such directory", directory.string());
  if (fs::exists(directory / "state.json")) {  // RUN/checkpoints/step_NNNNNN
    const fs::path step = fs::weakly_canonical(directory);
    return open_checkpoint(step.parent_path().parent_path(), step);
  }
  if (const auto latest = checkpoint::find_latest(directory)) {
    return open_checkpoint(directory, *latest);
  }
  require_input(fs::exists(directory / "config.json"),
                "{}: neither a run with checkpoints/ nor a Hugging Face directory with config.json",
                directory.string());
  ModelDirectory model;
  model.architecture = models::read_hugging_face_config(directory / "config.json");
  model.tokenizer = tokenizer_in(directory);
  model.tensors = checkpoint::open_hugging_face(directory);
  model.description = directory.string();
  return model;
}

}  // namespace bessemer::train
