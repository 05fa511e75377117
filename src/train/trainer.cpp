#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"
#include "checkpoint/background_writer.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/hugging_face.h"
#include "checkpoint/run_lock.h"
#include "config/parse.h"
#include "data/tokenizer_file.h"
#include "train/compile.h"
#include "train/corpus.h"
#include "train/delivery.h"
#include "train/device_memory.h"
#include "train/evaluate.h"
#include "train/generate.h"
#include "train/machine.h"
#include "train/memory_planner.h"
#include "train/metrics.h"
#include "train/mixture_report.h"
#include "train/offload.h"
#include "train/resident.h"
#include "train/run_state.h"
#include "train/schedule.h"
#include "train/signals.h"
#include "train/step_runner.h"
#include "train/wait_report.h"
#include "train/weights.h"

namespace bessemer::train {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

bool is_multiple(std::int64_t step, std::int64_t every) { return every > 0 && step % every == 0; }

// Where the checkpoint to go on from is; nothing for a new run.
std::optional<fs::path> starting_point(const config::RunConfig& config, const Resume& resume) {
  const fs::path run = config.run_directory();
  const auto latest = checkpoint::find_latest(run);
  switch (resume.kind) {
    case Resume::Kind::automatic: return latest;
    case Resume::Kind::path: return resume.path;
    case Resume::Kind::never: break;
  }
  if (latest) {
    fail_input(
        "{} holds a run with checkpoints ({}); give another train.name, remove the "
        "directory, or go on with --resume auto",
        run.string(), latest->filename().string());
  }
  return std::nullopt;
}

// That checkpoint, opened, and found to be of this run: before anything is written. A run file that
// leaves the size of micro-batches open gets that of the checkpoint.
std::optional<checkpoint::Checkpoint> open_starting_point(config::RunConfig& config,
                                                          const Resume& resume) {
  const std::optional<fs::path> path = starting_point(config, resume);
  if (!path) return std::nullopt;
  std::optional<checkpoint::Checkpoint> checkpoint(*path);
  const RunState state = read_state(checkpoint->state(), checkpoint->step(), checkpoint->place());
  if (!config.train.micro_batch_size) config.train.micro_batch_size = state.micro_batch_size;
  if (!config.data.token_pairs) config.data.token_pairs = state.token_pairs;
  require_same_run(state, digest_of(config), checkpoint->place());
  const auto all = checkpoint::list_checkpoints(config.run_directory());
  if (!all.empty() && all.back().step > checkpoint->step()) {
    fail_input(
        "{} is behind {}, which would be lost sight of; give another train.name to go on from "
        "there, or remove the later checkpoints",
        checkpoint->place(), all.back().path.string());
  }
  return checkpoint;
}

class Trainer {
 public:
  Trainer(const config::RunConfig& config, Corpus corpus, const CompiledRun& compiled,
          std::size_t predicted_bytes)
      : config_(config),
        corpus_(std::move(corpus)),
        compiled_(compiled),
        predicted_bytes_(predicted_bytes),
        options_(executor_options(config)),
        device_memory_(options_.cuda_device),
        executor_(compiled.plan, options_),
        runner_(executor_, config.run.seed),
        steps_(config::total_steps(config)),
        saved_(specs_to_save(compiled.plan)),
        flops_per_token_(
            models::training_flops_per_token(compiled.architecture, config.data.sequence_length)) {}

  // Sets parameters and state: from a checkpoint, a Hugging Face directory, or drawn.
  void start(const std::optional<checkpoint::Checkpoint>& from) {
    if (from) {
      const checkpoint::Checkpoint& checkpoint = *from;
      state_ = read_state(checkpoint.state(), checkpoint.step(), checkpoint.place());
      checkpoint::expect_tensors(checkpoint, saved_);
      for (const checkpoint::TensorSpec& tensor : saved_) {
        executor_.write(tensor.name, checkpoint::get(checkpoint, tensor.name).bytes);
      }
      log::info("going on from {} at step {}", checkpoint.place(), state_.step);
    } else if (config_.model.from) {
      const auto source = checkpoint::open_hugging_face(*config_.model.from);
      read_parameters(compiled_.architecture, *source, into(executor_));
      log::info("weights from {}", config_.model.from->string());
    } else {
      draw_parameters(compiled_.architecture, config_.run.seed, into(executor_));
    }
    state_.config_digest = digest_of(config_);
    state_.micro_batch_size = compiled_.micro_batch_size;
    state_.token_pairs = config_.data.token_pairs;
    runner_.refresh();
  }

  RunEnd run() {
    const fs::path directory = config_.run_directory();
    MetricsFile metrics(directory / "metrics.jsonl", state_.step);
    ProgressLine progress(steps_, config_.log.every);
    checkpoint::BackgroundWriter writer(directory, static_cast<int>(config_.checkpoint.keep_last));
    if (config_.checkpoint.every > 0 && saves_from_copy(compiled_.plan)) writer.reserve(saved_);
    const StopRequest stop;
    reach(corpus_, state_.next_sequence);
    if (*config_.data.workers == config::Workers::processes) forget_blocks(corpus_);
    release_slack();  // of tensors that were made in memory to be written to the file tier, too
    resident_.emplace();
    data::Loader loader(
        corpus_.training,
        loader_options(config_, corpus_, {0, 1, compiled_.micro_batch_size}, state_.next_sequence));
    WaitReport waits(loader.node());
    const auto finish = [&](const RunningStep& running) {
      report(this->finish(running, loader.node(), waits, progress), metrics, progress);
    };
    std::optional<RunningStep> before;
    for (std::int64_t number = state_.step + 1; number <= steps_; ++number) {
      RunningStep now = start_step(number, loader, before);
      const bool last = number == steps_, stopping = stop.asked();
      if (before) finish(*before);
      before = std::move(now);
      const bool is_known = before->step.result.has_value();
      if (!is_known && !last && !stopping && !something_is_due_after(number)) continue;
      finish(*before);
      before.reset();
      if (is_due(config_.train.evaluate_every) || (last && config_.train.evaluate_every > 0)) {
        progress.clear();
        evaluate_all();
      }
      if (is_due(config_.train.sample_every)) {
        progress.clear();
        sample();
      }
      if (config_.checkpoint.every > 0 && (is_due(config_.checkpoint.every) || last || stopping)) {
        save(writer);
      }
      if (stopping && !last) {
        writer.wait();
        progress.clear();
        log::info("stopped by a signal after step {}; start again with --resume auto", state_.step);
        return RunEnd::stopped_by_signal;
      }
    }
    writer.wait();
    report_data(waits);
    const std::string taken = device_memory_.text(compiled_.plan.arena_bytes);
    if (!taken.empty()) log::info("{}", taken);
    return RunEnd::done;
  }

 private:
  void report_data(const WaitReport& waits) const {
    const std::string late = waits.summary();
    if (!late.empty()) log::info("data was late: {}", late);
    const data::MixtureSchedule& schedule = corpus_.training->schedule();
    const auto shares = mixture_shares(config_, schedule, state_.next_sequence);
    if (shares.size() > 1) log::info("mixture: {}", mixture_text(shares));
  }

  // From a copy in memory while training goes on, where the state lies on the device. State that
  // was moved away to save memory is not copied there: training waits until it is written.
  void save(checkpoint::BackgroundWriter& writer) const {
    if (saves_from_copy(compiled_.plan)) {
      const auto copy_to = [&](std::size_t i, std::span<std::byte> to) {
        executor_.read(saved_[i].name, to);
      };
      return writer.save(state_.step, saved_, copy_to, to_json(state_));
    }
    Arena read;
    const auto bytes_of = [&](std::size_t i) -> std::span<const std::byte> {
      const auto& [name, type] = saved_[i];
      const std::size_t bytes = type.bytes();
      if (executor_.is_addressable(name)) return {executor_.tensor(name).data, bytes};
      if (read.size() < bytes) read = Arena(bytes);
      executor_.read(name, {read.data(), bytes});
      return {read.data(), bytes};
    };
    writer.write_now(state_.step, saved_, bytes_of, to_json(state_));
  }

  bool is_due(std::int64_t every) const { return is_multiple(state_.step, every); }

  bool something_is_due_after(std::int64_t step) const {
    for (const std::int64_t every :
         {config_.train.evaluate_every, config_.train.sample_every, config_.checkpoint.every}) {
      if (is_multiple(step, every)) return true;
    }
    return false;
  }

  /// A step that was started, and what will be told of it.
  struct RunningStep {
    StartedStep step;
    Clock::time_point start;
    StepMetrics metrics;
    data::Wait wait;
    std::uint64_t next_sequence = 0;  // after it
  };

  // A wait for data costs nothing while the device is at the step before. Where that one was over,
  // the wait is a part of its seconds, which go on until it is finished here.
  RunningStep start_step(std::int64_t number, data::Loader& loader,
                         std::optional<RunningStep>& before) const {
    RunningStep now;
    now.start = Clock::now();
    const data::Loader::Next next = loader.next();
    const bool is_hidden = before && !runner_.is_done(before->step);
    if (!is_hidden) {
      RunningStep& waited = before ? *before : now;
      const double before_that = std::exchange(waited.wait, next.wait).seconds;
      waited.wait.seconds += before_that;
      waited.metrics.data_wait_seconds += next.wait_seconds;
    }
    now.metrics.step = number;
    now.metrics.learning_rate = learning_rate(config_.optimizer, number, steps_);
    now.step = runner_.start(next.batch, now.metrics.learning_rate, number);
    now.next_sequence = loader.position();
    return now;
  }

  // Its seconds are those since the step before was over, or since it was started.
  StepMetrics finish(const RunningStep& running, const data::Node& node, WaitReport& waits,
                     ProgressLine& progress) {
    const StepResult result = runner_.result(running.step);
    const auto over = Clock::now();
    const std::int64_t tokens = *config_.train.global_batch_size * config_.data.sequence_length;
    StepMetrics m = running.metrics;
    state_.step = m.step;
    state_.tokens += tokens;
    state_.next_sequence = running.next_sequence;
    state_.skipped += result.skipped ? 1 : 0;
    state_.skipped_in_a_row = result.skipped ? state_.skipped_in_a_row + 1 : 0;
    m.tokens = state_.tokens;
    m.loss = result.loss;
    m.gradient_norm = result.gradient_norm;
    m.skipped = result.skipped;
    m.step_seconds =
        std::chrono::duration<double>(over - std::max(running.start, last_over_)).count();
    last_over_ = over;
    if (const std::string late = waits.add(m.step, running.wait, m.step_seconds); !late.empty()) {
      progress.clear();
      log::warn("{}", late);
    }
    m.tokens_per_second = static_cast<double>(tokens) / m.step_seconds;
    if (compiled_.plan.machine.measured) {
      const DType dtype = compute_dtype(config_.precision.recipe);
      m.mfu = m.tokens_per_second * flops_per_token_ / compiled_.plan.machine.matmul_flops(dtype);
    }
    m.peak_bytes_predicted = predicted_bytes_;
    workers_peak_ = std::max(workers_peak_, node.process_memory());
    m.peak_bytes_measured = resident_->look() + workers_peak_;
    return m;
  }

  void report(const StepMetrics& m, MetricsFile& metrics, ProgressLine& progress) {
    metrics.write(m);
    progress.show(m);
    doubt_calibration(m.mfu);
    stop_if_hopeless();
  }

  // Nothing is faster than the measured peak: then the machine was busy when it was measured. But
  // what multiplies in fp8 may pass the peak of bf16, which it is held against.
  void doubt_calibration(double mfu) {
    const bool fp8 = config_.precision.recipe == config::Recipe::fp8;
    if (mfu <= 1.0 || fp8 || calibration_doubted_) return;
    calibration_doubted_ = true;
    log::warn(
        "this step ran at {:.0f}% of the measured peak, so the measurement is too low; measure "
        "again on the idle machine: bessemer doctor --calibrate",
        100 * mfu);
  }

  void stop_if_hopeless() const {
    if (state_.skipped_in_a_row < config_.train.max_skipped_steps) return;
    fail(
        "stopped after step {}: loss or gradient was not finite {} steps in a row; the last "
        "checkpoint is intact. Lower optimizer.learning_rate or optimizer.gradient_clip, or use "
        "precision.recipe = \"fp32\"",
        state_.step, state_.skipped_in_a_row);
  }

  void evaluate_all() const {
    for (const ValidationSource& source : corpus_.validation) {
      const Evaluation e = evaluate(runner_, *source.dataset, *corpus_.tokenizer,
                                    compiled_.micro_batch_size, config_.train.evaluate_batches);
      fmt::print(stderr,
                 "step {}  validation {}: loss {:.4f}  perplexity {:.2f}  {:.3f} bits per byte "
                 "({} tokens)\n",
                 state_.step, source.name, e.loss, e.perplexity, e.bits_per_byte, e.tokens);
    }
  }

  void sample() const {
    const Generator generator(executor_, *corpus_.tokenizer,
                              compiled_.architecture.attention_window);
    SamplingOptions options;
    options.max_tokens = config_.train.sample_tokens;
    options.temperature = config_.train.sample_temperature;
    options.seed = config_.run.seed + static_cast<std::uint64_t>(state_.step);
    const std::string text = generator.generate(config_.train.sample_prompt, options);
    fmt::print("--- sample at step {}: {}{}\n", state_.step, config_.train.sample_prompt, text);
    std::fflush(stdout);
  }

  const config::RunConfig& config_;
  Corpus corpus_;
  const CompiledRun& compiled_;
  std::size_t predicted_bytes_;  // of the process at its peak
  runtime::ExecutorOptions options_;
  DeviceMemory device_memory_;
  runtime::Executor executor_;
  StepRunner runner_;
  std::int64_t steps_;
  std::vector<checkpoint::TensorSpec> saved_;
  double flops_per_token_;
  RunState state_;
  Clock::time_point last_over_;           // when a step was over
  std::optional<ResidentPeak> resident_;  // from the first step on
  std::size_t workers_peak_ = 0;          // of the processes that read data, bytes
  bool calibration_doubted_ = false;
};

// The resolved configuration, so that the run can be repeated from its own directory.
void write_run_files(const config::RunConfig& config, const CompiledRun& compiled,
                     const plan::ReportOptions& report, const fs::path& tokenizer) {
  const fs::path directory = config.run_directory();
  write_file_atomically(directory / "run.toml", config::to_toml(config));
  write_file_atomically(directory / "plan.txt", plan::describe(compiled.plan, report));
  write_file_atomically(directory / "config.json",
                        models::hugging_face_config(compiled.architecture));
  data::keep_tokenizer(tokenizer, directory);
}

void announce(const config::RunConfig& config, const CompiledRun& compiled, const Corpus& corpus) {
  const std::string data = corpus.training_tokens > 0
                               ? fmt::format("; {} tokens of training data", corpus.training_tokens)
                               : "";  // all of it is tokenized on the fly
  log::info("{} parameters, {} steps of {} sequences of {} tokens{}",
            models::parameter_count(compiled.architecture), config::total_steps(config),
            *config.train.global_batch_size, config.data.sequence_length, data);
  log::info("planned: {:.2f} GiB; everything goes to {}",
            static_cast<double>(compiled.plan.arena_bytes) / (1 << 30),
            config.run_directory().string());
}

cost::MachineDescription machine_of(const config::RunConfig& config) {
  return with_file_rates(measured_machine(config.run.device), config.memory, FileRates::measured);
}

models::Architecture architecture_of(const config::RunConfig& config, std::int64_t vocabulary) {
  return models::resolve(config.model, vocabulary, config.data.sequence_length);
}

// Refuses what can be known to be wrong before any work: the tokenizer may still have to be
// trained.
void check_request(const config::RunConfig& config) {
  constexpr std::int64_t kVocabularyNotKnown = 1;
  architecture_of(config, kVocabularyNotKnown);
  check_sources(config);
}

}  // namespace

Resume parse_resume(const std::string& text) {
  if (text == "auto") return {Resume::Kind::automatic, {}};
  if (text == "never") return {Resume::Kind::never, {}};
  require_input(fs::is_directory(text),
                "--resume {}: expected auto, never or a checkpoint's directory", text);
  return {Resume::Kind::path, text};
}

RunEnd train(const config::RunConfig& asked, const Resume& resume, passes::RunnerOptions passes) {
  if (asked.run.threads) set_thread_count(static_cast<int>(*asked.run.threads));
  check_request(asked);
  // An existing run is locked before it is read. A new one comes into being only once its start is
  // known to be good.
  const fs::path directory = asked.run_directory();
  std::optional<checkpoint::RunLock> lock;
  if (fs::exists(directory)) lock.emplace(directory);
  config::RunConfig open = asked;
  auto from = open_starting_point(open, resume);
  const bool given = asked.train.micro_batch_size || !from;
  const BatchFrom batch_from = given ? BatchFrom::run_file : BatchFrom::checkpoint;
  const cost::MachineDescription machine = machine_of(open);
  const models::Architecture planned = architecture_of(open, planned_vocabulary(open));
  if (!open.data.token_pairs) open.data.token_pairs = token_pairs(open, planned, machine);
  std::optional<MemoryPlanner> planner;
  planner.emplace(open, planned, machine, batch_from);
  planner->check();
  const config::RunConfig config = planner->choose();
  if (!lock) {
    fs::create_directories(directory);
    lock.emplace(directory);
  }
  Corpus corpus = prepare_corpus(config);
  const models::Architecture architecture = architecture_of(config, corpus.vocabulary);
  if (architecture != planner->architecture()) {
    planner.emplace(config, architecture, machine, batch_from);
    planner->check();
  }
  const bool seen = !passes.dump_after.empty();  // what the planner makes, it makes unseen
  passes::Runner runner(std::move(passes));
  const CompiledRun compiled =
      seen ? compile_run(config, architecture, machine, runner) : planner->compile();
  planner.reset();  // all that it knows would count as memory of the run
  announce(config, compiled, corpus);
  const fs::path tokenizer = corpus.tokenizer_path;
  const plan::ReportOptions report = report_options(config, compiled, resident_without_slack());
  Trainer trainer(config, std::move(corpus), compiled,
                  plan::predicted_process_bytes(compiled.plan, report.outside));
  trainer.start(from);
  from.reset();  // its file is mapped and counts as memory
  // Only now is it sure that the run is the same.
  write_run_files(config, compiled, report, tokenizer);
  return trainer.run();
}

}  // namespace bessemer::train
