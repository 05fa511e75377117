// What recomputation saves and what it costs: activation bytes as planned and the time of a step,
// for each policy and for "auto" at several budgets, as a Markdown table.
//
//   recompute_step --run examples/gpt2-124m.toml --sequences 2 --length 1024
//   recompute_step --run examples/gpt2-124m.toml --sequences 2 --stash int8
//
// The choices take turns within one run, a warm-up step and the timed ones each, so that what the
// machine does meanwhile happens to all; a time is a median over all turns. The processor time of
// the step, all threads together, is beside it: with --threads 1 that is the figure to take where
// other work runs. Every step's loss and gradient norm must have the bits they have where
// everything is kept. With --stash int8 all but the first choice have their stash in 8 bits
// (passes/compress_stash.h): their first losses must be those of the first choice too. Budgets are
// parts of what the first choice takes either way.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <iostream>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "config/parse.h"
#include "models/architecture.h"
#include "passes/pipeline.h"
#include "plan/recompute_to_fit.h"
#include "plan/report.h"
#include "train/compile.h"
#include "train/step_runner.h"
#include "train/weights.h"

namespace bessemer::bench {
namespace {

using Stash = passes::StashFormat;

struct Options {
  std::string run;
  Stash stash = Stash::same;
  std::int64_t sequences = 2, length = 1024;
  int rounds = 2, steps = 1;  // timed steps of each turn
  int threads = 0;            // 0: all cores
  std::vector<double> fractions{0.8, 0.65, 0.45, 0.3, 0.2};
  bool frontier = false;
};

struct Contender {
  std::string name;
  plan::Plan plan;
  std::vector<double> seconds = {};
  std::vector<double> processor_seconds = {};

  const plan::Program& program() const { return plan.program("accumulate_first"); }
};

// Compiles a step of one micro-batch under one policy at a time.
class Compiler {
 public:
  explicit Compiler(const Options& options)
      : config_(config::parse_run_config(read_file(options.run), options.run, {})),
        shape_{options.sequences, options.length},
        machine_(train::measured_machine()) {
    config_.data.sequence_length = options.length;
    constexpr int kVocabularyOfTheExample = 32000;  // where the run file has none
    architecture_ = models::resolve(config_.model, kVocabularyOfTheExample, options.length);
  }

  const models::Architecture& architecture() const { return architecture_; }

  passes::StepGraphs graphs(passes::RecomputePolicy policy, Stash stash) {
    passes::StepOptions options;
    options.stash = stash;
    options.recipe = train::recipe_of(config_.precision.recipe);
    options.recompute = policy;
    return passes::compile_step(models::loss_graph(architecture_, shape_), std::nullopt, options,
                                runner_);
  }

  plan::Plan plan(const passes::StepGraphs& step) const {
    std::vector<const ir::Graph*> graphs{&step.accumulate_first, &step.update};
    if (!step.refresh.nodes().empty()) graphs.insert(graphs.begin(), &step.refresh);
    return plan::make_plan(graphs, machine_);
  }

  /// With at most so many bytes of transients.
  plan::Plan plan_within(double transient_bytes, Stash stash) {
    passes::StepGraphs step = graphs(passes::RecomputePolicy::none, stash);
    const plan::Plan everything = plan(step);
    const std::size_t fixed = everything.persistent_bytes + everything.data_bytes;
    plan::recompute_to_fit(step, everything, fixed + static_cast<std::size_t>(transient_bytes),
                           runner_, known_);
    return plan(step);
  }

  std::vector<passes::RecomputePoint> frontier(Stash stash) {
    return plan::recompute_frontier(graphs(passes::RecomputePolicy::none, stash).accumulate_first,
                                    machine_);
  }

 private:
  config::RunConfig config_;
  models::BatchShape shape_;
  cost::MachineDescription machine_;
  models::Architecture architecture_;
  passes::Runner runner_;
  plan::KnownFrontiers known_;
};

data::GlobalBatch random_batch(const models::Architecture& architecture, const Options& options) {
  data::GlobalBatch batch;
  batch.micro_batches.resize(1);
  data::Batch& micro = batch.micro_batches[0];
  const std::int64_t tokens = options.sequences * options.length;
  const CounterRng rng(1, 0, 0);
  const auto token = [&](std::int64_t i) {
    return static_cast<std::int32_t>(rng.word(static_cast<std::uint64_t>(i)) %
                                     static_cast<std::uint64_t>(architecture.vocabulary));
  };
  for (std::int64_t i = 0; i < tokens; ++i) {
    micro.tokens.push_back(token(i));
    micro.targets.push_back(token(i + 1));
    micro.positions.push_back(static_cast<std::int32_t>(i % options.length));
    micro.visibility.insert(micro.visibility.end(), {0, static_cast<std::int32_t>(options.length)});
  }
  batch.valid_tokens = micro.valid_tokens = tokens;
  return batch;
}

double processor_time() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// One turn: steps from the same start. Adds their times; gives losses and norms.
std::vector<double> take_turn(Contender& contender, const models::Architecture& architecture,
                              const data::GlobalBatch& batch, int steps) {
  const runtime::Executor executor(contender.plan);
  train::draw_parameters(architecture, 1, train::into(executor));
  const train::StepRunner runner(executor, 1);
  runner.refresh();
  std::vector<double> results;
  for (int step = 1; step <= steps + 1; ++step) {
    const double processor_start = processor_time();
    const auto start = std::chrono::steady_clock::now();
    const train::StepResult result = runner.run(batch, 1e-3, step);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    results.insert(results.end(), {result.loss, result.gradient_norm});
    if (step == 1) continue;  // it touches the memory
    contender.seconds.push_back(seconds.count());
    contender.processor_seconds.push_back(processor_time() - processor_start);
  }
  return results;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

void print_table(const std::vector<Contender>& contenders) {
  const Contender& none = contenders.front();
  constexpr double kMiB = 1 << 20;
  const auto percent = [](double part, double whole) { return 100 * (part / whole - 1); };
  std::cout << "| recompute | activations, MiB | less | predicted step | added | measured step | "
               "added | processor time | added |\n|---|---|---|---|---|---|---|---|---|\n";
  const double none_seconds = median(none.seconds);
  const double none_processor = median(none.processor_seconds);
  for (const Contender& c : contenders) {
    const auto bytes = static_cast<double>(c.program().transient_bytes);
    const double predicted = plan::predicted_step_seconds(c.plan, 1);
    std::cout << fmt::format(
        "| {} | {:.1f} | {:.1f}% | {:.3f} s | {:.1f}% | {:.3f} s | {:.1f}% | {:.3f} s | {:.1f}% "
        "|\n",
        c.name, bytes / kMiB, -percent(bytes, static_cast<double>(none.program().transient_bytes)),
        predicted, percent(predicted, plan::predicted_step_seconds(none.plan, 1)),
        median(c.seconds), percent(median(c.seconds), none_seconds), median(c.processor_seconds),
        percent(median(c.processor_seconds), none_processor));
  }
}

void print_frontier(const std::vector<passes::RecomputePoint>& frontier) {
  std::cout << "activations_bytes stash_bytes added_seconds\n";
  for (const passes::RecomputePoint& point : frontier) {
    std::cout << fmt::format("{} {} {:.6f}\n", point.peak_bytes, point.stash_bytes,
                             point.added_seconds);
  }
}

// The first keeps everything as it is.
std::vector<Contender> contenders_of(const Options& options, Compiler& compiler) {
  using Policy = passes::RecomputePolicy;
  std::vector<Contender> contenders;
  const auto add = [&](const std::string& name, plan::Plan plan) {
    contenders.push_back({options.stash == Stash::int8 ? "int8, " + name : name, std::move(plan)});
  };
  const auto policy = [&](Policy which) {
    return compiler.plan(compiler.graphs(which, options.stash));
  };
  contenders.push_back({"none", compiler.plan(compiler.graphs(Policy::none, Stash::same))});
  // With int8 `none` makes again what `selective` does.
  if (options.stash == Stash::int8) add("none", policy(Policy::none));
  if (options.stash == Stash::same) add("selective", policy(Policy::selective));
  add("full", policy(Policy::full));
  const auto all = static_cast<double>(contenders[0].program().transient_bytes);
  for (const double fraction : options.fractions) {
    add(fmt::format("auto, {:.0f}%", 100 * fraction),
        compiler.plan_within(fraction * all, options.stash));
  }
  return contenders;
}

bool same_bits(std::span<const double> a, std::span<const double> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

void run(const Options& options) {
  if (options.threads > 0) set_thread_count(options.threads);
  Compiler compiler(options);
  if (options.frontier) return print_frontier(compiler.frontier(options.stash));
  std::vector<Contender> contenders = contenders_of(options, compiler);
  const data::GlobalBatch batch = random_batch(compiler.architecture(), options);
  std::vector<double> first, expected;  // of the first contender, of all the others
  for (int round = 0; round < options.rounds; ++round) {
    for (Contender& contender : contenders) {
      const auto results = take_turn(contender, compiler.architecture(), batch, options.steps);
      const bool is_first = &contender == &contenders.front();
      std::vector<double>& known = is_first || options.stash == Stash::same ? first : expected;
      if (known.empty()) known = results;
      require(same_bits(results, known) && results[0] == first[0],
              "{}: losses or gradient norms differ from those where everything is kept",
              contender.name);
      std::cerr << fmt::format("round {} {}: {:.3f} s, processor {:.3f} s\n", round + 1,
                               contender.name, contender.seconds.back(),
                               contender.processor_seconds.back());
    }
  }
  print_table(contenders);
}

}  // namespace
}  // namespace bessemer::bench

int main(int argc, char** argv) {
  bessemer::bench::Options options;
  CLI::App app{"Activation bytes and step time under each recomputation policy"};
  app.add_option("--run", options.run, "run file: the model and its recipe")->required();
  std::string stash = "same";
  app.add_option("--stash", stash, "as in precision.stash")->check(CLI::IsMember({"same", "int8"}));
  app.add_option("--sequences", options.sequences);
  app.add_option("--length", options.length);
  app.add_option("--rounds", options.rounds);
  app.add_option("--steps", options.steps, "timed steps of each turn");
  app.add_option("--threads", options.threads, "0: all cores");
  app.add_option("--fractions", options.fractions, "budgets of auto: parts of all activations")
      ->delimiter(',');
  app.add_flag("--frontier", options.frontier, "print the points that auto chooses from, and end");
  CLI11_PARSE(app, argc, argv);
  if (stash == "int8") options.stash = bessemer::bench::Stash::int8;
  try {
    bessemer::bench::run(options);
  } catch (const std::exception& error) {
    std::cerr << "recompute_step: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
