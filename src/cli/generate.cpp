#include "train/generate.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/help.h"
#include "cli/model.h"
#include "train/compile.h"

namespace bessemer::cli {
namespace {

struct GenerateOptions {
  std::string directory;
  std::string prompt;
  train::SamplingOptions sampling;
  std::string device;
};

int generate(const GenerateOptions& options) {
  const Model model = load_model(options.directory);
  const models::Architecture& architecture = model.directory.architecture;
  const std::size_t prompt = model.tokenizer.encode(options.prompt).size();
  const auto begin = static_cast<std::int64_t>(std::max<std::size_t>(1, prompt));
  require_input(begin < architecture.context,
                "--prompt has {} tokens; the model's context of {} leaves no room to go on", begin,
                architecture.context);
  train::SamplingOptions sampling = options.sampling;
  sampling.max_tokens = std::min(sampling.max_tokens, architecture.context - begin);
  const std::int64_t cache = std::max(begin + sampling.max_tokens, train::kPrefillTokens);
  const ModelPlace place = place_of(model, options.device);
  passes::Runner runner;
  const plan::Plan plan = train::compile_generation(
      architecture, train::precision_of(model.precision), cache, place.machine, runner);
  const runtime::Executor executor(plan, place.options);
  load_weights(model, executor);
  const train::Generator generator(executor, model.tokenizer, architecture.attention_window);
  print(options.prompt);
  flush();
  generator.generate(options.prompt, sampling, [](std::string_view piece) {
    print(piece);
    flush();
  });
  print("\n");
  return kDone;
}

}  // namespace

void add_generate(CLI::App& app, Session& session) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command =
      app.add_subcommand("generate", "Prints a prompt and goes on from it, token by token");
  command->add_option("DIR", options->directory, "A run, a checkpoint or a Hugging Face directory")
      ->required()
      ->type_name("PATH");
  command->add_option("--prompt", options->prompt, "What to go on from; empty: a new document")
      ->required()
      ->type_name("TEXT");
  train::SamplingOptions& sampling = options->sampling;
  command->add_option("--max-tokens", sampling.max_tokens, "The most tokens to add")
      ->type_name("N")
      ->check(between(std::int64_t{1}, std::int64_t{1} << 24))
      ->capture_default_str();
  command
      ->add_option("--temperature", sampling.temperature,
                   "Divides the logits; 0: always the likeliest token")
      ->type_name("X")
      ->check(CLI::NonNegativeNumber.description(""))
      ->capture_default_str();
  command->add_option("--top-k", sampling.top_k, "Draws from the k likeliest tokens; 0: from all")
      ->type_name("K")
      ->check(CLI::NonNegativeNumber.description(""))
      ->capture_default_str();
  command
      ->add_option("--top-p", sampling.top_p,
                   "Draws from the likeliest tokens that together have this probability")
      ->type_name("P")
      ->check(between(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--seed", sampling.seed, "The same seed draws the same text")
      ->type_name("N")
      ->capture_default_str();
  add_device_option(*command, options->device);
  command->callback(
      [options, &session] { session.action = [options] { return generate(*options); }; });
}

}  // namespace bessemer::cli
