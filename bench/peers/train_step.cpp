// Trains a Hugging Face model on given batches, on demand: Bessemer's side of bench/peers/run and
// of tests/peers/run, which tell in docs/benchmarks.md and in their own words what they compare.
//
//   train_step --model DIR --batches FILE [--recipe bf16] [--set key=value]...
//
// FILE is a safetensors file with int32 inputs and targets of [steps, B, T]; a run longer than that
// starts over. --set takes any key of a run file: without it a step is one micro-batch of B
// sequences with everything kept on the device. Every number read from standard input asks for so
// many steps; every answer is one JSON object a line on standard output: {"ready": ...} at the
// start, then one for each step. So the driver can let the peers take turns while each keeps its
// process.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/parallel.h"
#include "checkpoint/hugging_face.h"
#include "checkpoint/safetensors.h"
#include "config/parse.h"
#include "models/architecture.h"
#include "plan/report.h"
#include "profile.h"
#include "train/machine.h"
#include "train/compile.h"
#include "train/memory_planner.h"
#include "train/offload.h"
#include "train/step_runner.h"
#include "train/weights.h"

namespace bessemer::bench {
namespace {

struct Options {
  std::string model;
  std::string batches;
  std::string recipe = "bf16";
  std::vector<std::string> settings;  // of the run, over those of run_config()
  int threads = 0;                    // 0: all cores
  double learning_rate = 1e-3;
  int profile = 0;  // repetitions; 0: none
  bool plan = false;
};

// The batches of the file as the loader would give them: each sequence one whole document.
class Batches {
 public:
  explicit Batches(const std::string& path) {
    const checkpoint::SafetensorsFile file(path);
    inputs_ = values(file, "inputs");
    targets_ = values(file, "targets");
    shape_ = checkpoint::get(file, "inputs").type.shape;
    require_input(shape_.size() == 3 && inputs_.size() == targets_.size(),
                  "{}: inputs and targets must have the same shape [steps, B, T]", path);
  }

  std::int64_t sequences() const { return shape_[1]; }
  std::int64_t length() const { return shape_[2]; }

  /// The batch of step `step`, from 1, in micro-batches of so many sequences.
  data::GlobalBatch at(std::int64_t step, std::int64_t micro_batch_size) const {
    data::GlobalBatch batch;
    batch.valid_tokens = sequences() * length();
    const std::int64_t begin = (step - 1) % shape_[0] * batch.valid_tokens;
    const std::int64_t tokens = micro_batch_size * length();
    for (std::int64_t at = begin; at < begin + batch.valid_tokens; at += tokens) {
      data::Batch micro;
      micro.valid_tokens = tokens;
      micro.tokens.assign(inputs_.begin() + at, inputs_.begin() + at + tokens);
      micro.targets.assign(targets_.begin() + at, targets_.begin() + at + tokens);
      for (std::int64_t i = 0; i < tokens; ++i) {
        micro.positions.push_back(static_cast<std::int32_t>(i % length()));
        micro.visibility.push_back(0);
        micro.visibility.push_back(static_cast<std::int32_t>(length()));
      }
      batch.micro_batches.push_back(std::move(micro));
    }
    return batch;
  }

 private:
  static std::vector<std::int32_t> values(const checkpoint::TensorSource& file, const char* name) {
    const checkpoint::TensorView view = checkpoint::get(file, name);
    require_input(view.type.dtype == DType::int32, "{}: {} must be int32", file.place(), name);
    std::vector<std::int32_t> result(static_cast<std::size_t>(view.type.elements()));
    std::memcpy(result.data(), view.bytes.data(), view.bytes.size());
    return result;
  }

  std::vector<std::int32_t> inputs_, targets_;
  Shape shape_;
};

config::RunConfig run_config(const Options& options, const Batches& batches) {
  const std::string text = fmt::format(
      "model.from = '{}'\ndata.path = '{}'\ndata.sequence_length = {}\ntrain.steps = 1\n"
      "train.micro_batch_size = {}\ntrain.global_batch_size = {}\ntrain.evaluate_every = 0\n"
      "precision.recipe = '{}'\nmemory.policy = 'resident'\n",
      options.model, options.batches, batches.length(), batches.sequences(), batches.sequences(),
      options.recipe);
  return config::parse_run_config(text, "train_step", options.settings);
}

// VmHWM: the highest resident set since this program started, libraries included. (getrusage counts
// what the process was before it became this program.)
std::size_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * 1024;
  }
  return 0;
}

void answer(const nlohmann::json& object) { std::cout << object.dump() << std::endl; }

// As the trainer takes them: on a device each one is started while the one before runs, and is read
// late. A step's seconds are those since the one before was over, or since it was started.
class Steps {
 public:
  Steps(const train::StepRunner& runner, const Batches& batches, std::int64_t micro_batch_size)
      : runner_(runner), batches_(batches), micro_batch_size_(micro_batch_size) {}

  void run(std::int64_t count, double learning_rate) {
    std::optional<Running> before;
    for (; count > 0; --count) {
      const data::GlobalBatch batch = batches_.at(++step_, micro_batch_size_);
      const auto start = Clock::now();
      const Running now{step_, start, runner_.start(batch, learning_rate, step_)};
      if (before) finish(*before);
      before = now;
      if (!now.started.result) continue;
      finish(now);
      before.reset();
    }
    if (before) finish(*before);
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Running {
    std::int64_t step;
    Clock::time_point start;
    train::StartedStep started;
  };

  void finish(const Running& running) {
    const train::StepResult result = runner_.result(running.started);
    const auto over = Clock::now();
    const std::chrono::duration<double> seconds = over - std::max(running.start, last_over_);
    last_over_ = over;
    answer({{"step", running.step},
            {"seconds", seconds.count()},
            {"loss", result.loss},
            {"gradient_norm", result.gradient_norm},
            {"peak_resident_bytes", peak_resident_bytes()}});
  }

  const train::StepRunner& runner_;
  const Batches& batches_;
  std::int64_t micro_batch_size_;
  std::int64_t step_ = 0;
  Clock::time_point last_over_;
};

void run(const Options& options) {
  if (options.threads > 0) set_thread_count(options.threads);
  const Batches batches(options.batches);
  config::RunConfig config = run_config(options, batches);
  const models::Architecture architecture =
      models::read_hugging_face_config(options.model + "/config.json");
  const cost::MachineDescription machine = train::with_file_rates(
      train::measured_machine(config.run.device), config.memory, train::FileRates::measured);
  config = train::MemoryPlanner(config, architecture, machine).choose();
  passes::Runner passes;
  const train::CompiledRun compiled = train::compile_run(config, architecture, machine, passes);
  const plan::Plan& plan = compiled.plan;
  if (options.plan) std::cerr << plan::describe(plan, {});
  const runtime::Executor executor(plan, train::executor_options(config));
  train::read_parameters(architecture, *checkpoint::open_hugging_face(options.model),
                         train::into(executor));
  const train::StepRunner runner(executor, 0);
  runner.refresh();
  const DType dtype = train::compute_dtype(config.precision.recipe);
  answer({{"ready", "bessemer " + options.recipe},
          {"parameters", models::parameter_count(architecture)},
          {"flops_per_token", models::training_flops_per_token(architecture, batches.length())},
          {"matmul_peak", plan.machine.matmul_flops(dtype)},
          {"planned_bytes", plan.arena_bytes},
          {"device_bytes", machine.device_memory > 0 ? plan.arena_bytes : 0}});
  Steps steps(runner, batches, *config.train.micro_batch_size);
  for (std::int64_t count = 0; std::cin >> count;) steps.run(count, options.learning_rate);
  if (options.profile > 0) std::cerr << profile_step(executor, options.profile);
}

}  // namespace
}  // namespace bessemer::bench

int main(int argc, char** argv) {
  bessemer::bench::Options options;
  CLI::App app{
      "Trains a Hugging Face model on given batches, as many steps as standard input says"};
  app.add_option("--model", options.model, "Hugging Face directory")->required();
  app.add_option("--batches", options.batches, "safetensors with inputs and targets")->required();
  app.add_option("--recipe", options.recipe)->check(CLI::IsMember({"fp32", "tf32", "bf16", "fp8"}));
  app.add_option("--set", options.settings, "section.key=value, as in a run file");
  app.add_option("--threads", options.threads, "0: all cores");
  app.add_option("--learning-rate", options.learning_rate);
  app.add_option("--profile", options.profile, "at the end, time every instruction so many times");
  app.add_flag("--plan", options.plan, "print the plan on standard error");
  CLI11_PARSE(app, argc, argv);
  try {
    bessemer::bench::run(options);
  } catch (const std::exception& error) {
    std::cerr << "train_step: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
