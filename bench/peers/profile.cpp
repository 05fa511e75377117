#include "profile.h"

#include <algorithm>
#include <map>
#include <vector>

#include <fmt/format.h>

namespace bessemer::bench {
namespace {

struct Cost {
  std::string name;
  double measured = 0;  // seconds a step
  double predicted = 0;
  double flops = 0;
  double bytes = 0;
  int count = 0;
};

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// One Cost for each instruction of a program, named "op [kernel]" with the label after a tab.
std::vector<Cost> measure(const runtime::Executor& executor, const char* name, int repetitions) {
  const runtime::Executor::ProgramHandle program = executor.find(name);
  if (!program.valid()) return {};
  const auto& instructions = executor.plan().program(name).instructions;
  std::vector<std::vector<double>> seconds(instructions.size());
  for (int r = 0; r < repetitions; ++r) {
    executor.run_profiled(program, [&](std::size_t i, double s) { seconds[i].push_back(s); });
  }
  std::vector<Cost> costs;
  for (std::size_t i = 0; i < instructions.size(); ++i) {
    const plan::Instruction& in = instructions[i];
    costs.push_back({fmt::format("{} [{}]\t{}: {}", in.op, in.kernel, name, in.label),
                     median(seconds[i]), in.seconds, in.work.flops,
                     in.work.bytes_read + in.work.bytes_written, 1});
  }
  return costs;
}

void print_table(fmt::memory_buffer& out, std::vector<Cost> costs, double total, std::size_t rows) {
  std::sort(costs.begin(), costs.end(),
            [](const Cost& a, const Cost& b) { return a.measured > b.measured; });
  fmt::format_to(std::back_inserter(out), "{:>9} {:>6} {:>9} {:>5} {:>8} {:>7} {:>5}  {}\n",
                 "seconds", "share", "predicted", "ratio", "GFLOP/s", "GB/s", "count", "what");
  costs.resize(std::min(costs.size(), rows));
  for (const Cost& c : costs) {
    fmt::format_to(std::back_inserter(out),
                   "{:9.4f} {:5.1f}% {:9.4f} {:5.2f} {:8.1f} {:7.1f} {:5}  {}\n", c.measured,
                   100 * c.measured / total, c.predicted, c.measured / c.predicted,
                   c.flops / c.measured / 1e9, c.bytes / c.measured / 1e9, c.count, c.name);
  }
}

}  // namespace

std::string profile_step(const runtime::Executor& executor, int repetitions) {
  std::vector<Cost> instructions;
  for (const char* name : {"accumulate_first", "update", "refresh_rest"}) {
    for (Cost& cost : measure(executor, name, repetitions)) instructions.push_back(std::move(cost));
  }
  std::map<std::string, Cost> by_op;
  double measured = 0, predicted = 0;
  for (const Cost& c : instructions) {
    Cost& sum = by_op[c.name.substr(0, c.name.find('\t'))];
    sum.measured += c.measured;
    sum.predicted += c.predicted;
    sum.flops += c.flops;
    sum.bytes += c.bytes;
    ++sum.count;
    measured += c.measured;
    predicted += c.predicted;
  }
  std::vector<Cost> ops;
  for (auto& [name, cost] : by_op) {
    cost.name = name;
    ops.push_back(cost);
  }
  constexpr std::size_t kCostliest = 40;
  fmt::memory_buffer out;
  fmt::format_to(
      std::back_inserter(out),
      "one step: {:.4f} s measured (medians of {}), {:.4f} s predicted, {} instructions\n",
      measured, repetitions, predicted, instructions.size());
  print_table(out, ops, measured, ops.size());
  fmt::format_to(std::back_inserter(out), "\nthe costliest instructions\n");
  print_table(out, instructions, measured, kCostliest);
  return fmt::to_string(out);
}

}  // namespace bessemer::bench
