// How evenly the sequences of a global batch fall on 64 ranks, by context length and method.
//
//   data_balance --run examples/llama-60m.toml
//
// What a sequence costs is measured with this machine's kernels: attention and its gradient over
// packed documents of many lengths, fitted by a price for a token and one for a pair, and the
// products of the model. The balance is made from what a run would take (data.token_pairs, from the
// calibration), and judged by what was measured.
//
// The corpus is long-tailed: documents of 200 tokens and more by a Pareto law of exponent 1.3.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/rng.h"
#include "config/parse.h"
#include "data/balance.h"
#include "data/layout.h"
#include "kernels/cpu/cpu.h"
#include "models/architecture.h"
#include "train/machine.h"
#include "train/compile.h"
#include "train/delivery.h"

namespace {

using namespace bessemer;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string run;
  std::int64_t ranks = 64, micro_batches = 8;  // of one sequence
};

struct Model {
  models::Architecture architecture;
  DType compute;
  data::SequenceCost planned;  // by data.token_pairs
};

Model model_of(const std::string& run) {
  const config::RunConfig config = config::parse_run_config(read_file(run), run, {});
  constexpr int kVocabularyOfTheExample = 32000;  // where the run file has none
  const auto architecture =
      models::resolve(config.model, kVocabularyOfTheExample, config.data.sequence_length);
  const auto pairs = train::token_pairs(config, architecture, train::measured_machine());
  return {
      architecture, train::compute_dtype(config.precision.recipe), {static_cast<double>(pairs), 1}};
}

// One kernel with its buffers; small floats everywhere, integers as they are given.
class Kernel {
 public:
  Kernel(kernels::Prepared (*prepare)(const kernels::KernelRequest&), const Attributes& attributes,
         const std::vector<TensorType>& operands, const std::vector<TensorType>& results) {
    const std::vector<std::optional<TensorType>> types(operands.begin(), operands.end());
    kernel_ = std::get<std::unique_ptr<const kernels::Kernel>>(
        prepare({types, results, attributes, kernels::Machine::detect()}));
    for (const TensorType& type : operands) operands_.push_back(add(type));
    for (const TensorType& type : results) results_.push_back(add(type));
    scratch_ = Arena(kernel_->scratch_bytes());
  }

  std::int32_t* integers(std::size_t operand) {
    return reinterpret_cast<std::int32_t*>(arenas_[operand].data());
  }

  /// The median of some runs.
  double seconds() {
    std::vector<double> times;
    for (int i = 0; i < 4; ++i) {
      const auto start = Clock::now();
      kernel_->run({operands_, results_, scratch_.data()});
      times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    }
    std::sort(times.begin() + 1, times.end());
    return times[2];
  }

 private:
  std::byte* add(const TensorType& type) {
    arenas_.emplace_back(type.bytes());
    std::byte* data = arenas_.back().data();
    for (std::int64_t i = 0; i < type.elements(); ++i) {
      const float value = static_cast<float>(i * 7919 % 1000) * 1e-3f - 0.5f;
      if (type.dtype == DType::fp32) reinterpret_cast<float*>(data)[i] = value;
      if (type.dtype == DType::bf16) reinterpret_cast<BFloat16*>(data)[i] = BFloat16(value);
    }
    return data;
  }

  std::unique_ptr<const kernels::Kernel> kernel_;
  std::vector<Arena> arenas_;
  std::vector<const void*> operands_;
  std::vector<void*> results_;
  Arena scratch_;
};

// Seconds of attention and its gradient in all layers over `tokens` in documents of `document`
// tokens; one head is measured.
double attention_seconds(const Model& model, std::int64_t tokens, std::int64_t document) {
  const models::Architecture& a = model.architecture;
  const TensorType q{model.compute, {1, tokens, 1, a.head_dim}}, lse{DType::fp32, {1, 1, tokens}};
  const TensorType visibility{DType::int32, {1, tokens, 2}};
  const Attributes attributes{{"scale", 1 / std::sqrt(static_cast<double>(a.head_dim))},
                              {"causal", true}};
  Kernel forward(kernels::cpu::attention, attributes, {q, q, q, visibility}, {q, lse});
  Kernel backward(kernels::cpu::attention_grad, attributes, {q, q, q, q, q, lse, visibility},
                  {q, q, q});
  for (std::int32_t* intervals : {forward.integers(3), backward.integers(6)}) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      const std::int64_t begin = t / document * document;
      intervals[2 * t] = static_cast<std::int32_t>(begin);
      intervals[2 * t + 1] = static_cast<std::int32_t>(std::min(begin + document, tokens));
    }
  }
  return static_cast<double>(a.heads * a.layers) * (forward.seconds() + backward.seconds());
}

// Of all products, forward and twice that backward, for one token; a square one is measured.
double product_seconds(const Model& model) {
  constexpr std::int64_t kRows = 1024;
  const std::int64_t hidden = model.architecture.hidden;
  const TensorType x{model.compute, {kRows, hidden}}, w{model.compute, {hidden, hidden}};
  Kernel product(kernels::cpu::matmul, {{"transpose_b", true}}, {x, w}, {x});
  const double flops = models::training_flops_per_token(model.architecture, 0);
  return product.seconds() / kRows * flops / (2 * static_cast<double>(hidden * hidden));
}

double pairs_of(std::int64_t tokens, std::int64_t document) {
  const auto n = static_cast<double>(document);
  return static_cast<double>(tokens) / n * n * (n + 1) / 2;
}

// Least squares over packings of one and of many documents.
data::SequenceCost measured_cost(const Model& model) {
  double tt = 0, tp = 0, pp = 0, ts = 0, ps = 0;
  struct Point {
    double tokens, pairs, seconds;
  };
  std::vector<Point> points;
  for (const std::int64_t tokens : {4096, 8192}) {
    for (std::int64_t document = 128; document <= tokens; document *= 4) {
      points.push_back({static_cast<double>(tokens), pairs_of(tokens, document),
                        attention_seconds(model, tokens, document)});
      const Point& p = points.back();
      // Relative errors count.
      const double t = p.tokens / p.seconds, q = p.pairs / p.seconds;
      tt += t * t, tp += t * q, pp += q * q, ts += t, ps += q;
    }
  }
  const double determinant = tt * pp - tp * tp;
  const double token = (ts * pp - ps * tp) / determinant;
  const double pair = (ps * tt - ts * tp) / determinant;
  fmt::print("| tokens | documents of | attention, measured s | fitted s |\n|---|---|---|---|\n");
  for (const Point& p : points) {
    fmt::print("| {:.0f} | {:.0f} | {:.4f} | {:.4f} |\n", p.tokens, 2 * p.pairs / p.tokens - 1,
               p.seconds, token * p.tokens + pair * p.pairs);
  }
  const double products = product_seconds(model);
  fmt::print(
      "\nattention {:.3g} s a token and {:.3g} s a pair; products {:.3g} s a token: a token "
      "costs as much as {:.0f} pairs, data.token_pairs is {:.0f}\n\n",
      token, pair, products, (token + products) / pair, model.planned.per_token);
  return {token + products, pair};
}

class LongTail final : public data::Streams {
 public:
  std::uint64_t size() const override { return 400'000; }
  Stream at(std::uint64_t i) const override {
    const double uniform = (random_.word(i) + 0.5) * 0x1p-32;
    const double tokens = std::min(200 / std::pow(uniform, 1 / 1.3), 1e6);
    return {static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(tokens)};
  }
  void visit(const std::function<void(const Stream&)>& visitor) const override {
    for (std::uint64_t i = 0; i < size(); ++i) visitor(at(i));
  }

 private:
  CounterRng random_{5, 0, 0};
};

struct Costs {
  std::vector<double> planned, measured;  // of each sequence
};

// Of sequences packed from the corpus, in the order that training reads them; at most so many.
Costs costs_of(std::int64_t context, const Model& model, const data::SequenceCost& measured,
               std::uint64_t most) {
  const auto layout =
      data::make_layout(LongTail(), {data::Packing::best_fit, context, data::Tail::drop, 1});
  const Permutation order(layout->sequences(), 2);
  Costs costs;
  for (std::uint64_t n = 0; n < std::min(most, layout->sequences()); ++n) {
    std::vector<std::int64_t> parts;
    layout->visit(order(n), [&](const data::Part& part) { parts.push_back(part.count); });
    costs.planned.push_back(model.planned(parts));
    costs.measured.push_back(measured(parts));
  }
  return costs;
}

// One row: mean and largest imbalance over the steps, and the time to balance one.
void report(std::int64_t context, const Options& options, const Model& model,
            const data::SequenceCost& measured) {
  const data::BatchShape shape{options.ranks, options.micro_batches, 1};
  const auto step = static_cast<std::size_t>(shape.sequences());
  const Costs costs = costs_of(context, model, measured, 50 * step);
  const std::size_t steps = costs.measured.size() / step;
  fmt::print("| {} |", context);
  for (const auto method :
       {data::Balance::round_robin, data::Balance::greedy, data::Balance::karmarkar_karp}) {
    double sum = 0, most = 0, seconds = 0;
    for (std::size_t s = 0; s < steps; ++s) {
      const auto start = Clock::now();
      const auto order =
          data::balance(std::span(costs.planned).subspan(s * step, step), shape, method);
      seconds += std::chrono::duration<double>(Clock::now() - start).count();
      const double spread =
          data::imbalance(std::span(costs.measured).subspan(s * step, step), order, shape);
      sum += spread;
      most = std::max(most, spread);
    }
    fmt::print(" {:.3f} ({:.3f}), {:.2f} ms |", sum / static_cast<double>(steps), most,
               1e3 * seconds / static_cast<double>(steps));
  }
  fmt::print("\n");
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Balance of packed sequences over ranks, by context length"};
  app.add_option("--run", options.run, "run file: the model and its recipe")->required();
  app.add_option("--ranks", options.ranks);
  app.add_option("--micro-batches", options.micro_batches, "of one sequence, a rank and step");
  CLI11_PARSE(app, argc, argv);
  try {
    const Model model = model_of(options.run);
    const data::SequenceCost measured = measured_cost(model);
    fmt::print("| context | round robin | greedy | Karmarkar-Karp |\n|---|---|---|---|\n");
    for (const std::int64_t context : {4096, 8192, 16384}) {
      report(context, options, model, measured);
    }
  } catch (const std::exception& error) {
    std::cerr << "data_balance: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
