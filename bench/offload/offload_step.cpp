// What moving tensors off the device costs: planned bytes of each tier, seconds a step, and whether
// the losses are the resident run's.
//
//   offload_step --run examples/gpt2-124m.toml --file /scratch [--steps 3] [--to file]
//                [--set key=value]...
//
// The settings take turns of one step each, so that what else the machine does falls on all of
// them; only one has its arenas at a time, so each turn starts from fresh weights and does a step
// (three where updates are not synchronous) that is not counted first. Tokens are made up.
#include <algorithm>
#include <chrono>
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
#include "train/compile.h"
#include "train/offload.h"
#include "train/step_runner.h"
#include "train/weights.h"

namespace bessemer::bench {
namespace {

struct Setting {
  std::string name;
  std::string offload;
};

const std::vector<Setting> kSettings{
    {"resident", "none"},
    {"optimizer to host", "optimizer:host"},
    {"optimizer, gradients to host", "optimizer:host,gradients:host"},
    {"all to host", "optimizer:host,gradients:host,parameters:host,activations:host"},
    {"optimizer to file", "optimizer:file"},
    {"optimizer, gradients to file", "optimizer:file,gradients:file"},
    {"all to file", "optimizer:file,gradients:file,parameters:file,activations:file"}};

// Resident, and those that move something to that tier; all where it is empty.
std::vector<Setting> settings_to(const std::string& tier) {
  std::vector<Setting> settings;
  for (const Setting& setting : kSettings) {
    const bool resident = setting.offload == "none";
    if (resident || setting.offload.find(tier) != std::string::npos) settings.push_back(setting);
  }
  return settings;
}

struct Measured {
  std::string name;
  std::string offload;
  std::vector<double> seconds = {};
  double predicted = 0;
  double loss = 0;
  std::array<std::size_t, ir::kTiers> bytes{};
};

data::GlobalBatch made_up_batch(const config::RunConfig& config, std::int64_t vocabulary) {
  const CounterRng rng(1, 0, 0);
  data::Batch micro;
  const std::int64_t length = config.data.sequence_length;
  const std::int64_t tokens = *config.train.micro_batch_size * length;
  for (std::int64_t i = 0; i < tokens; ++i) {
    const auto token = [&](std::int64_t at) {
      return static_cast<std::int32_t>(rng.word(static_cast<std::uint64_t>(at)) %
                                       static_cast<std::uint32_t>(vocabulary));
    };
    micro.tokens.push_back(token(i));
    micro.targets.push_back(token(i + 1));
    micro.positions.push_back(static_cast<std::int32_t>(i % length));
    micro.visibility.push_back(0);
    micro.visibility.push_back(static_cast<std::int32_t>(length));
  }
  micro.valid_tokens = tokens;
  data::GlobalBatch batch;
  const std::int64_t count = *config.train.global_batch_size / *config.train.micro_batch_size;
  batch.micro_batches.assign(static_cast<std::size_t>(count), micro);
  batch.valid_tokens = tokens * count;
  return batch;
}

// Until all memory has been touched: a delayed update changes nothing in the first step, and what
// changes places is elsewhere in the next.
int warm_steps(config::UpdateMode update) {
  return update == config::UpdateMode::synchronous ? 1 : 3;
}

void take_turn(const config::RunConfig& config, Measured& measured) {
  const models::Architecture architecture =
      models::resolve(config.model, 1, config.data.sequence_length);
  passes::Runner passes;
  const cost::MachineDescription machine =
      train::with_file_rates(train::measured_machine(), config.memory, train::FileRates::measured);
  const train::CompiledRun run = train::compile_run(config, architecture, machine, passes);
  for (const ir::Tier tier : {ir::Tier::device, ir::Tier::host, ir::Tier::file}) {
    measured.bytes[ir::index_of(tier)] = run.plan.bytes(tier);
  }
  measured.predicted = plan::predicted_step_seconds(run.plan, run.micro_batches);
  const runtime::Executor executor(run.plan, train::executor_options(config));
  train::draw_parameters(architecture, 1, train::into(executor));
  const train::StepRunner runner(executor, 1);
  runner.refresh();
  const data::GlobalBatch batch = made_up_batch(config, architecture.vocabulary);
  const int warm = warm_steps(config.optimizer.update);
  for (int step = 1; step <= warm; ++step) runner.run(batch, 1e-3, step);
  const auto start = std::chrono::steady_clock::now();
  measured.loss = runner.run(batch, 1e-3, warm + 1).loss;
  measured.seconds.push_back(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void print(const std::vector<Measured>& all) {
  fmt::print(
      "| setting | device | host | file | s/step (median) | of resident | predicted | last "
      "loss |\n|---|---|---|---|---|---|---|---|\n");
  for (const Measured& m : all) {
    fmt::print("| {} | {} | {} | {} | {:.2f} | {:.2f}x | {:.2f} | {:.6f}{} |\n", m.name,
               plan::bytes_text(m.bytes[0]), plan::bytes_text(m.bytes[1]),
               plan::bytes_text(m.bytes[2]), median(m.seconds),
               median(m.seconds) / median(all[0].seconds), m.predicted, m.loss,
               m.loss == all[0].loss ? ", equal" : ", NOT EQUAL");
  }
}

}  // namespace
}  // namespace bessemer::bench

int main(int argc, char** argv) {
  using namespace bessemer;
  CLI::App app("The cost of offloading");
  std::string path, file, tier;
  std::vector<std::string> overrides;
  int turns = 3;
  app.add_option("--run", path, "Run file")->required();
  app.add_option("--file", file, "Directory of the file tier")->required();
  app.add_option("--to", tier, "host or file: only what moves something there");
  app.add_option("--set", overrides, "section.key=value");
  app.add_option("--steps", turns, "Counted steps of each setting");
  CLI11_PARSE(app, argc, argv);
  try {
    log::set_level(log::Level::warn);
    std::vector<bench::Measured> all;
    for (const bench::Setting& setting : bench::settings_to(tier)) {
      all.push_back({setting.name, setting.offload});
    }
    for (int turn = 0; turn < turns; ++turn) {
      for (bench::Measured& measured : all) {
        std::vector<std::string> settings = overrides;
        settings.push_back("memory.file=" + file + ":1TiB");
        settings.push_back("memory.offload=" + measured.offload);
        bench::take_turn(config::load_run_config(path, settings), measured);
        fmt::print(stderr, "turn {}: {}: {:.2f} s\n", turn + 1, measured.name,
                   measured.seconds.back());
      }
    }
    bench::print(all);
  } catch (const std::exception& error) {
    std::cerr << "offload_step: " << error.what() << '\n';
    return 1;
  }
}
