#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/temporary_directory.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/help.h"
#include "cli/model.h"
#include "train/compile.h"
#include "train/corpus.h"
#include "train/evaluate.h"

namespace bessemer::cli {
namespace {

struct EvalOptions {
  std::string directory;
  std::string data;
  std::optional<std::int64_t> sequence_length;
  std::optional<std::string> chat_template;
  std::optional<std::string> text_key;
  std::int64_t batch = 8;
  std::string device;
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

data::SourceFormat format_of(config::SourceFormat format) {
  switch (format) {
    case config::SourceFormat::text: return data::SourceFormat::text;
    case config::SourceFormat::messages: return data::SourceFormat::messages;
    default: return data::SourceFormat::automatic;
  }
}

/// The source of the run that reads this path; null: none does.
const config::DataSource* find_source(const config::RunConfig& run, const std::string& path) {
  const auto place = std::filesystem::weakly_canonical(path);
  for (const config::DataSource& source : run.data.sources) {
    if (std::filesystem::weakly_canonical(source.path) == place) return &source;
  }
  return nullptr;
}

/// The template of the run's conversations. A source whose records were not said to be messages
/// counts only where it names a template of its own.
std::string template_of(const config::RunConfig& run, const std::string& path) {
  std::set<std::string> named;
  for (const config::DataSource& source : run.data.sources) {
    const bool asked = source.format == config::SourceFormat::messages ||
                       source.chat_template != data::kDefaultChatTemplate;
    if (asked && source.format != config::SourceFormat::text) named.insert(source.chat_template);
  }
  require_input(named.size() < 2,
                "{}: the run has sources with the chat templates {}; say with --template which one "
                "these conversations are to be rendered with",
                path, fmt::join(named, ", "));
  return named.empty() ? std::string(data::kDefaultChatTemplate) : *named.begin();
}

bool is_token_file(const std::string& path) {
  return std::filesystem::exists(data::idx_path(path));
}

/// Read as the run read its own data, but for what the options say.
train::EvaluationData evaluation_data(const EvalOptions& options, const Model& model) {
  train::EvaluationData data;
  data.source = {"evaluation", options.data};
  data.tokenizer = model.directory.tokenizer;
  data.sequence_length = sequence_length(options, model);
  if (model.run) data.text_key = model.run->data.text_field;
  if (options.text_key) data.text_key = *options.text_key;
  const auto* const own = model.run ? find_source(*model.run, options.data) : nullptr;
  if (own != nullptr) data.source.format = format_of(own->format);
  if (options.chat_template) {
    data.source.chat_template = *options.chat_template;
  } else if (own != nullptr) {
    data.source.chat_template = own->chat_template;
  } else if (model.run && !is_token_file(options.data) &&
             data::holds_messages(data::expand_path(options.data), data.text_key)) {
    data.source.chat_template = template_of(*model.run, options.data);
  }
  return data;
}

int eval(const EvalOptions& options) {
  const Model model = load_model(options.directory);
  const train::EvaluationData data = evaluation_data(options, model);
  const std::int64_t length = data.sequence_length;
  const TemporaryDirectory work;
  const auto dataset = train::open_for_evaluation(data, work.path());
  const std::int64_t batch =
      std::min(options.batch, static_cast<std::int64_t>(dataset->sequences()));
  const ModelPlace place = place_of(model, options.device);
  passes::Runner runner;
  const plan::Plan plan =
      train::compile_evaluation(model.directory.architecture, train::precision_of(model.precision),
                                batch, length, place.machine, runner);
  const runtime::Executor executor(plan, place.options);
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
  command
      ->add_option("--template", options->chat_template,
                   "Of conversations: chatml, llama3, mistral, zephyr or a .json file (the run's; "
                   "else chatml)")
      ->type_name("NAME|FILE");
  command
      ->add_option("--text-field", options->text_key,
                   "Key of the text in a JSONL object (the run's; else text)")
      ->type_name("KEY");
  command->add_option("--batch", options->batch, "Sequences at a time")
      ->type_name("N")
      ->check(between(std::int64_t{1}, std::int64_t{1} << 20))
      ->capture_default_str();
  add_device_option(*command, options->device);
  command->callback([options, &session] { session.action = [options] { return eval(*options); }; });
}

}  // namespace bessemer::cli
