#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/hugging_face.h"
#include "checkpoint/partial_directory.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "data/tokenizer_file.h"
#include "models/model.h"
#include "train/run_state.h"
#include "train/weights.h"

namespace bessemer::cli {
namespace {

namespace fs = std::filesystem;

struct ImportOptions {
  std::string from;
  std::string run;
};

// Parameters by our names in fp32, and the optimiser state of step 0, which is all zeros.
class StepZero {
 public:
  StepZero(const models::Architecture& architecture, const checkpoint::TensorSource& source)
      : infos_(models::parameters(architecture)), values_(infos_.size()) {
    train::read_parameters(
        architecture, source, [this](const models::ParameterInfo& info, const auto& fill) {
          const auto at = std::find_if(infos_.begin(), infos_.end(),
                                       [&](const auto& i) { return i.name == info.name; });
          auto& values = values_[static_cast<std::size_t>(at - infos_.begin())];
          values.resize(static_cast<std::size_t>(elements_of(info.shape)));
          fill(values.data());
        });
    std::size_t largest = sizeof(std::int64_t);
    for (const auto& values : values_) largest = std::max(largest, values.size() * sizeof(float));
    zeros_.resize(largest);
  }

  std::vector<checkpoint::NamedTensor> tensors() const {
    std::vector<checkpoint::NamedTensor> tensors{{"optimizer.step", zero({DType::int64, {}})}};
    for (std::size_t i = 0; i < infos_.size(); ++i) {
      const TensorType type{DType::fp32, infos_[i].shape};
      tensors.push_back({infos_[i].name, {type, std::as_bytes(std::span(values_[i]))}});
      tensors.push_back({"optimizer.m." + infos_[i].name, zero(type)});
      tensors.push_back({"optimizer.v." + infos_[i].name, zero(type)});
    }
    return tensors;
  }

 private:
  checkpoint::TensorView zero(const TensorType& type) const {
    return {type, std::span(zeros_).first(type.bytes())};
  }

  std::vector<models::ParameterInfo> infos_;
  std::vector<std::vector<float>> values_;
  std::vector<std::byte> zeros_;
};

int import_model(const ImportOptions& options) {
  const fs::path from = options.from;
  const models::Architecture architecture = models::read_hugging_face_config(from / "config.json");
  const auto source = checkpoint::open_hugging_face(from);
  const StepZero state(architecture, *source);
  checkpoint::PartialDirectory directory(options.run, checkpoint::Existing::refuse);
  write_file_atomically(directory.path() / "config.json",
                        models::hugging_face_config(architecture));
  const auto tokenizer = data::find_tokenizer(from);
  if (tokenizer) data::keep_tokenizer(*tokenizer, directory.path());
  checkpoint::write_checkpoint(directory.path(), 0, state.tensors(),
                               train::to_json(train::RunState{}));
  directory.publish();
  print(fmt::format("{}: {} parameters{}\n", checkpoint::checkpoint_path(options.run, 0).string(),
                    models::parameter_count(architecture),
                    tokenizer ? "" : "; no tokenizer there, so `generate` and `eval` need one"));
  return kDone;
}

}  // namespace

void add_import(CLI::App& app, Session& session) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* command = app.add_subcommand(
      "import", "Makes a run directory, with a checkpoint of step 0, from a Hugging Face model");
  command->add_option("HF_DIR", options->from, "The Hugging Face directory (gpt2 or llama family)")
      ->required()
      ->type_name("DIR");
  command->add_option("RUN_DIR", options->run, "The run directory to make")
      ->required()
      ->type_name("DIR");
  command->callback(
      [options, &session] { session.action = [options] { return import_model(*options); }; });
}

}  // namespace bessemer::cli
