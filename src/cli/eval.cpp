#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "base/error.h"
#include "base/temporary_directory.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/help.h"
#include "cli/model.h"
#include "cost/machine.h"
#include "train/compile.h"
#include "train/corpus.h"
#include "train/evaluate.h"

namespace bessemer::cli {
namespace {

struct EvalOptions {
  std::string directory;
  std::string data;
  std::optional<std::int64_t> sequence_length;
  std::int64_t batch = 8;
};

// What the run was trained with; else the context, within what memory likes.
std::int64_t sequence_length(const EvalOptions& options, const Model& model) {
  const std::int64_t context = model.directory.architecture.context;
  if (!options.sequence_length) {
    return std::min<std::int64_t>(context, model.run ? model.run->data.sequence_length : 1024);
  }
  require_input(*options.sequence_length <= context,
                "--sequence-length {}: the model's context is {}", *options.sequence_length,
                context);
  return *options.sequence_length;
}

int eval(const EvalOptions& options) {
  const Model model = load_model(options.directory);
  const std::int64_t length = sequence_length(options, model);
  const TemporaryDirectory work;
  const auto dataset =
      train::open_for_evaluation(options.data, model.directory.tokenizer, length, work.path());
  const std::int64_t batch =
      std::min(options.batch, static_cast<std::int64_t>(dataset->sequences()));
  passes::Runner runner;
  const plan::Plan plan = train::compile_evaluation(model.directory.architecture, model.recipe,
                                                    batch, length, cost::describe_here(), runner);
  const runtime::Executor executor(plan);
  load_weights(model, executor);
  const train::StepRunner steps(executor, 0);
  const train::Evaluation result = train::evaluate(steps, *dataset, model.tokenizer, batch, 0);
  print(
      fmt::format("model          {}\n"
                  "data           {}\n"
                  "tokens         {}\n"
                  "loss           {:.6f}\n"
                  "perplexity     {:.4f}\n"
                  "bits per byte  {:.6f}\n",
                  model.directory.description, options.data, result.tokens, result.loss,
                  result.perplexity, result.bits_per_byte));
  return kDone;
}

}  // namespace

void add_eval(CLI::App& app, Session& session) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command =
      app.add_subcommand("eval", "Loss, perplexity and bits per byte of a model on a text");
  command->add_option("DIR", options->directory, "A run, a checkpoint or a Hugging Face directory")
      ->required()
      ->type_name("PATH");
  command
      ->add_option(
          "--data", options->data,
          "Text, JSONL (each also .gz or .zst), a directory, a glob, or a .bin/.idx prefix")
      ->required()
      ->type_name("PATH");
  command
      ->add_option("--sequence-length", options->sequence_length,
                   "Tokens of a sequence (the run's; else the context, 1024 at most)")
      ->type_name("N")
      ->check(between(std::int64_t{1}, std::int64_t{1} << 24));
  command->add_option("--batch", options->batch, "Sequences at a time")
      ->type_name("N")
      ->check(between(std::int64_t{1}, std::int64_t{1} << 20))
      ->capture_default_str();
  command->callback([options, &session] { session.action = [options] { return eval(*options); }; });
}

}  // namespace bessemer::cli
