// Predicted against measured step times of plans that differ in model, micro-batch, recomputation
// and movement: one line each, and the median of the errors.
//
//   predicted_steps --examples examples --file /scratch [--steps 3]
//
// A plan's time is the median of its steps after one that touches the memory. Tokens are made up.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "config/parse.h"
#include "models/model.h"
#include "plan/report.h"
#include "train/machine.h"
#include "train/memory_planner.h"
#include "train/offload.h"
#include "train/step_runner.h"
#include "train/weights.h"

namespace bessemer::bench {
namespace {

struct Setting {
  const char* name;
  const char* run;  // of the examples
  std::vector<const char*> overrides;
};

const char* const kGpt2 = "gpt2-124m.toml";
const char* const kLlama = "llama-60m.toml";
const char* const kQuickstart = "quickstart.toml";

const std::vector<Setting> kSettings{
    {"GPT-2 124M, 4x256",
     kGpt2,
     {"data.sequence_length=256", "train.micro_batch_size=4", "train.global_batch_size=4"}},
    {"GPT-2 124M, 2 of 1x1024, fp32",
     kGpt2,
     {"train.micro_batch_size=1", "train.global_batch_size=2", "precision.recipe=fp32"}},
    {"GPT-2 124M, 2x512, all recomputed",
     kGpt2,
     {"data.sequence_length=512", "train.micro_batch_size=2", "train.global_batch_size=2",
      "memory.recompute=full"}},
    {"GPT-2 124M, 4x256 in 1 GiB",
     kGpt2,
     {"data.sequence_length=256", "train.micro_batch_size=4", "train.global_batch_size=4",
      "memory.device=1GiB"}},
    {"GPT-2 124M, 4x256, all to host",
     kGpt2,
     {"data.sequence_length=256", "train.micro_batch_size=4", "train.global_batch_size=4",
      "memory.offload=optimizer:host,gradients:host,parameters:host,activations:host"}},
    {"GPT-2 124M, 8 of 2x256, optimizer to file",
     kGpt2,
     {"data.sequence_length=256", "train.micro_batch_size=2", "train.global_batch_size=8",
      "memory.offload=optimizer:file"}},
    {"Llama 60M, 4x512", kLlama, {"train.micro_batch_size=4", "train.global_batch_size=4"}},
    {"Llama 60M, 2 of 2x512, selective",
     kLlama,
     {"train.micro_batch_size=2", "train.global_batch_size=4", "memory.recompute=selective"}},
    {"Llama 60M, 8x256, optimizer and gradients to host",
     kLlama,
     {"data.sequence_length=256", "train.micro_batch_size=8", "train.global_batch_size=8",
      "memory.offload=optimizer:host,gradients:host"}},
    {"Llama 60M, 4 of 1x512 in 500 MiB",
     kLlama,
     {"train.micro_batch_size=1", "train.global_batch_size=4", "memory.device=500MiB"}},
    {"Llama 8M, 8x256", kQuickstart, {}},
    {"Llama 8M, 8x256, fp32", kQuickstart, {"precision.recipe=fp32"}},
};

data::GlobalBatch made_up_batch(const train::CompiledRun& run, std::int64_t length) {
  const CounterRng rng(1, 0, 0);
  data::Batch micro;
  const std::int64_t tokens = run.micro_batch_size * length;
  const auto token = [&](std::int64_t at) {
    return static_cast<std::int32_t>(rng.word(static_cast<std::uint64_t>(at)) %
                                     static_cast<std::uint64_t>(run.architecture.vocabulary));
  };
  for (std::int64_t i = 0; i < tokens; ++i) {
    micro.tokens.push_back(token(i));
    micro.targets.push_back(token(i + 1));
    micro.positions.push_back(static_cast<std::int32_t>(i % length));
    micro.visibility.insert(micro.visibility.end(), {0, static_cast<std::int32_t>(length)});
  }
  micro.valid_tokens = tokens;
  data::GlobalBatch batch;
  batch.micro_batches.assign(static_cast<std::size_t>(run.micro_batches), micro);
  batch.valid_tokens = tokens * run.micro_batches;
  return batch;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

struct Options {
  std::string examples, file;
  int steps = 3;
};

config::RunConfig config_of(const Setting& setting, const Options& options) {
  std::vector<std::string> overrides(setting.overrides.begin(), setting.overrides.end());
  overrides.push_back("memory.file=" + options.file + ":1TiB");
  return config::load_run_config(options.examples + "/" + setting.run, overrides);
}

// Prints the line; returns measured less predicted, as a share of what was measured.
double measure(const Setting& setting, const Options& options) {
  config::RunConfig config = config_of(setting, options);
  const std::int64_t vocabulary = config.data.vocabulary.value_or(1);
  const models::Architecture architecture =
      models::resolve(config.model, vocabulary, config.data.sequence_length);
  const cost::MachineDescription machine =
      train::with_file_rates(train::measured_machine(), config.memory, train::FileRates::measured);
  train::MemoryPlanner planner(config, architecture, machine);
  planner.check();
  const train::CompiledRun run = planner.compile();
  const runtime::Executor executor(run.plan, train::executor_options(config));
  train::draw_parameters(architecture, 1, train::into(executor));
  const train::StepRunner runner(executor, 1);
  runner.refresh();
  const data::GlobalBatch batch = made_up_batch(run, config.data.sequence_length);
  std::vector<double> seconds;
  for (int step = 0; step <= options.steps; ++step) {
    const auto start = std::chrono::steady_clock::now();
    runner.run(batch, 1e-3, step + 1);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (step > 0) seconds.push_back(taken.count());
  }
  const double predicted = plan::predicted_step_seconds(run.plan, run.micro_batches);
  const double measured = median(seconds), error = (measured - predicted) / measured;
  fmt::print("| {} | {} | {} | {} of {} | {:.3f} | {:.3f} | {:+.1f}% |\n", setting.name,
             plan::bytes_text(run.plan.bytes(ir::Tier::device)),
             plan::bytes_text(run.plan.bytes(ir::Tier::host) + run.plan.bytes(ir::Tier::file)),
             run.micro_batches, run.micro_batch_size, predicted, measured, 100 * error);
  std::fflush(stdout);
  return error;
}

}  // namespace
}  // namespace bessemer::bench

int main(int argc, char** argv) {
  using namespace bessemer;
  CLI::App app("Predicted against measured steps");
  bench::Options options;
  app.add_option("--examples", options.examples, "Directory of the example run files")->required();
  app.add_option("--file", options.file, "Directory of the file tier")->required();
  app.add_option("--steps", options.steps, "Timed steps of each plan")->check(CLI::Range(1, 100));
  CLI11_PARSE(app, argc, argv);
  try {
    log::set_level(log::Level::warn);
    fmt::print(
        "| plan | device | lower tiers | micro-batches | predicted s | measured s | error |\n"
        "|---|---|---|---|---|---|---|\n");
    std::vector<double> errors;
    for (const bench::Setting& setting : bench::kSettings) {
      errors.push_back(std::abs(bench::measure(setting, options)));
    }
    fmt::print("\nmedian error {:.1f}%\n", 100 * bench::median(errors));
  } catch (const std::exception& error) {
    std::cerr << "predicted_steps: " << error.what() << '\n';
    return 1;
  }
}
