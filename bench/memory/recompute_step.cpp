// What recomputation saves and what it costs: activation bytes as planned and the time of a step,
// for each of some choices, as a Markdown table.
//
//   recompute_step --run examples/gpt2-124m.toml --sequences 2 --length 1024
//   recompute_step --run examples/gpt2-124m.toml --sequences 2 --choices 0.45,int8,int8:0.3
//
// A choice is a policy (none, selective, full) or the part of all activations that "auto" may take,
// and with int8: in front of it, or for `none` int8 alone, the stash is in 8 bits
// (passes/compress_stash.h). Everything kept as it is comes first, unasked: it is what the others
// are held against.
//
// The choices take turns of two steps, the second timed, in one arena that all of them use: what
// the machine does meanwhile happens to all, and memory that lies well or badly for one does so for
// all. A measured step is the median over the rounds, and the sum of each instruction's median over
// the rounds: what disturbs a step disturbs few of its instructions, so that the sum is the
// steadier figure. Steadier still is the time of what a choice does beside the work of `none`: the
// instructions that run more often than there, and those that are not there at all, each at the
// median it has in this choice. The first step must have the loss and gradient norm it has where
// everything is kept, bit for bit; with the stash in 8 bits, that loss, and a norm that all of
// these share.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <tuple>
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
#include "passes/write_weights.h"
#include "plan/recompute_to_fit.h"
#include "plan/report.h"
#include "train/machine.h"
#include "train/compile.h"
#include "train/step_runner.h"
#include "train/weights.h"

namespace bessemer::bench {
namespace {

using Stash = passes::StashFormat;

struct Options {
  std::string run;
  std::int64_t sequences = 2, length = 1024;
  int rounds = 3;
  int threads = 0;  // 0: all cores
  std::vector<std::string> choices{"selective", "full", "0.8", "0.65", "0.45", "0.3", "0.2"};
  bool frontier = false;
  bool by_op = false;
};

using Part = std::pair<std::string, std::size_t>;  // an instruction of a program

struct Contender {
  std::string name;
  Stash stash;
  plan::Plan plan;
  std::vector<double> seconds = {};                         // of each timed step
  std::map<Part, std::vector<double>> by_instruction = {};  // the same, of each part of it

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
    options.precision = train::precision_of(config_.precision);
    options.recompute = policy;
    return passes::compile_step(models::loss_graph(architecture_, shape_), std::nullopt, options,
                                runner_);
  }

  plan::Plan plan(const passes::StepGraphs& step) const {
    const ir::Graph update = passes::write_weights(step.update, step.refresh);
    std::vector<const ir::Graph*> graphs{&step.accumulate_first, &update};
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

// Runs a step's programs, of which a run has filled the inputs, and adds what they take.
void time_step(Contender& contender, const runtime::Executor& executor) {
  double sum = 0;
  for (const char* name : {"accumulate_first", "update"}) {
    const auto program = executor.find(name);
    if (!program.valid()) continue;
    executor.run_profiled(program, [&](std::size_t i, double seconds) {
      contender.by_instruction[{name, i}].push_back(seconds);
      sum += seconds;
    });
  }
  contender.seconds.push_back(sum);
}

// One turn: two steps, the second timed. Gives loss and norm of the first.
std::array<double, 2> take_turn(Contender& contender, const models::Architecture& architecture,
                                const data::GlobalBatch& batch,
                                const std::shared_ptr<const Arena>& arena) {
  runtime::ExecutorOptions options;
  options.device_arena = arena;
  const runtime::Executor executor(contender.plan, options);
  train::draw_parameters(architecture, 1, train::into(executor));
  const train::StepRunner runner(executor, 1);
  runner.refresh();
  const train::StepResult first = runner.run(batch, 1e-3, 1);  // touches the memory, too
  time_step(contender, executor);
  return {first.loss, first.gradient_norm};
}

double median(std::vector<double> values) {
  if (values.empty()) return std::nan("");  // nothing was timed
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double sum_of_medians(const Contender& contender) {
  double sum = 0;
  for (const auto& [instruction, seconds] : contender.by_instruction) sum += median(seconds);
  return sum;
}

// What one plan's instructions of a kind take, and how many there are.
struct Kind {
  double seconds = 0;
  int count = 0;

  double mean() const { return count > 0 ? seconds / count : 0; }
};
using Kinds = std::map<std::tuple<std::string, double, double>, Kind>;  // op, flops, bytes

Kinds kinds_of(const Contender& contender) {
  Kinds kinds;
  for (const auto& [part, seconds] : contender.by_instruction) {
    const plan::Instruction& i = contender.plan.program(part.first).instructions[part.second];
    Kind& kind = kinds[{i.op, i.work.flops, i.work.bytes_read + i.work.bytes_written}];
    kind.seconds += median(seconds);
    ++kind.count;
  }
  return kinds;
}

// Seconds of the instructions that one plan has and another has not: of each kind as many as there
// are more, less those there are fewer.
double seconds_beyond(const Contender& contender, const Contender& none) {
  const Kinds kept = kinds_of(none), now = kinds_of(contender);
  double sum = 0;
  for (const auto& [name, kind] : now) {
    const auto before = kept.find(name);
    sum += kind.mean() * (kind.count - (before == kept.end() ? 0 : before->second.count));
  }
  for (const auto& [name, kind] : kept) {
    if (!now.contains(name)) sum -= kind.seconds;
  }
  return sum;
}

void print_table(const std::vector<Contender>& contenders) {
  const Contender& none = contenders.front();
  constexpr double kMiB = 1 << 20;
  const auto more = [](double part, double whole) { return 100 * (part / whole - 1); };
  std::cout << "| recompute | activations, MiB | less | predicted step | added | measured step | "
               "added | by instruction | added | work beside none's |\n"
               "|---|---|---|---|---|---|---|---|---|---|\n";
  const auto all = static_cast<double>(none.program().transient_bytes);
  for (const Contender& c : contenders) {
    const auto bytes = static_cast<double>(c.program().transient_bytes);
    const double predicted = plan::predicted_step_seconds(c.plan, 1);
    std::cout << fmt::format(
        "| {} | {:.1f} | {:.1f}% | {:.3f} s | {:.1f}% | {:.3f} s | {:.1f}% | {:.3f} s | {:.1f}% "
        "| {:.3f} s, {:.1f}% |\n",
        c.name, bytes / kMiB, -more(bytes, all), predicted,
        more(predicted, plan::predicted_step_seconds(none.plan, 1)), median(c.seconds),
        more(median(c.seconds), median(none.seconds)), sum_of_medians(c),
        more(sum_of_medians(c), sum_of_medians(none)), seconds_beyond(c, none),
        100 * seconds_beyond(c, none) / sum_of_medians(none));
  }
}

struct OpSeconds {
  double measured = 0, predicted = 0;
};

// Of each op of one plan, its instructions that were timed.
std::map<std::string, OpSeconds> seconds_by_op(const Contender& contender) {
  std::map<std::string, OpSeconds> ops;
  for (const auto& [part, seconds] : contender.by_instruction) {
    const plan::Instruction& i = contender.plan.program(part.first).instructions[part.second];
    ops[i.op].measured += median(seconds);
    ops[i.op].predicted += i.seconds;
  }
  return ops;
}

// Where the added time is: seconds of each op where everything is kept, and what each choice adds.
void print_ops(const std::vector<Contender>& contenders) {
  std::cout << "\n| op |";
  for (const Contender& c : contenders) std::cout << fmt::format(" {} | predicted |", c.name);
  std::cout << "\n|---|";
  for (std::size_t i = 0; i < contenders.size(); ++i) std::cout << "---|---|";
  std::cout << '\n';
  std::map<std::string, std::vector<OpSeconds>> table;  // by op, then by contender
  for (std::size_t c = 0; c < contenders.size(); ++c) {
    for (const auto& [op, seconds] : seconds_by_op(contenders[c])) {
      table.try_emplace(op, contenders.size()).first->second[c] = seconds;
    }
  }
  for (const auto& [op, seconds] : table) {
    const OpSeconds& none = seconds.front();
    std::cout << fmt::format("| {} | {:.3f} s | {:.3f} s |", op, none.measured, none.predicted);
    for (std::size_t c = 1; c < seconds.size(); ++c) {
      std::cout << fmt::format(" {:+.3f} s | {:+.3f} s |", seconds[c].measured - none.measured,
                               seconds[c].predicted - none.predicted);
    }
    std::cout << '\n';
  }
}

void print_frontier(const std::vector<passes::RecomputePoint>& frontier) {
  std::cout << "activations_bytes stash_bytes added_seconds\n";
  for (const passes::RecomputePoint& point : frontier) {
    std::cout << fmt::format("{} {} {:.6f}\n", point.peak_bytes, point.stash_bytes,
                             point.added_seconds);
  }
}

passes::RecomputePolicy policy_named(const std::string& name) {
  using Policy = passes::RecomputePolicy;
  if (name == "selective") return Policy::selective;
  if (name == "full") return Policy::full;
  require_input(name == "none", "--choices: '{}' is no policy and no part of 1", name);
  return Policy::none;
}

Contender contender_of(const std::string& choice, std::size_t all_bytes, Compiler& compiler) {
  const bool in_8_bits = choice == "int8" || choice.starts_with("int8:");
  const Stash stash = in_8_bits ? Stash::int8 : Stash::same;
  const std::string rest = choice == "int8" ? "none" : choice.substr(in_8_bits ? 5 : 0);
  char* end = nullptr;
  const double part = std::strtod(rest.c_str(), &end);
  if (end != rest.c_str() && *end == '\0') {
    return {choice, stash, compiler.plan_within(part * static_cast<double>(all_bytes), stash)};
  }
  return {choice, stash, compiler.plan(compiler.graphs(policy_named(rest), stash))};
}

std::vector<Contender> contenders_of(const Options& options, Compiler& compiler) {
  std::vector<Contender> contenders{contender_of("none", 0, compiler)};
  const std::size_t all = contenders.front().program().transient_bytes;
  for (const std::string& choice : options.choices) {
    contenders.push_back(contender_of(choice, all, compiler));
  }
  return contenders;
}

Stash frontier_stash(const Options& options) {
  return options.choices == std::vector<std::string>{"int8"} ? Stash::int8 : Stash::same;
}

void run(const Options& options) {
  if (options.threads > 0) set_thread_count(options.threads);
  Compiler compiler(options);
  if (options.frontier) return print_frontier(compiler.frontier(frontier_stash(options)));
  std::vector<Contender> contenders = contenders_of(options, compiler);
  if (options.rounds == 0) return print_table(contenders);
  const data::GlobalBatch batch = random_batch(compiler.architecture(), options);
  std::size_t most = 0;
  for (const Contender& contender : contenders) most = std::max(most, contender.plan.arena_bytes);
  const auto arena = std::make_shared<const Arena>(most);
  std::map<Stash, std::array<double, 2>> expected;
  for (int round = 1; round <= options.rounds; ++round) {
    for (Contender& contender : contenders) {
      const auto first = take_turn(contender, compiler.architecture(), batch, arena);
      const auto known = expected.try_emplace(contender.stash, first).first->second;
      require(first == known && first[0] == expected.at(Stash::same)[0],
              "{}: loss or gradient norm differ from those where everything is kept",
              contender.name);
      std::cerr << fmt::format("round {} {}: {:.3f} s\n", round, contender.name,
                               contender.seconds.back());
    }
  }
  print_table(contenders);
  if (options.by_op) print_ops(contenders);
}

}  // namespace
}  // namespace bessemer::bench

int main(int argc, char** argv) {
  bessemer::bench::Options options;
  CLI::App app{"Activation bytes and step time under each recomputation policy"};
  app.add_option("--run", options.run, "run file: the model and its recipe")->required();
  app.add_option("--sequences", options.sequences);
  app.add_option("--length", options.length);
  app.add_option("--rounds", options.rounds, "0: plans only");
  app.add_option("--threads", options.threads, "0: all cores");
  app.add_option("--choices", options.choices, "what is measured beside none")->delimiter(',');
  app.add_flag("--frontier", options.frontier,
               "print the points that auto chooses from, and end; with --choices int8 those in "
               "8 bits");
  app.add_flag("--by-op", options.by_op, "print which ops take the time that a choice adds");
  CLI11_PARSE(app, argc, argv);
  try {
    bessemer::bench::run(options);
  } catch (const std::exception& error) {
    std::cerr << "recompute_step: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
