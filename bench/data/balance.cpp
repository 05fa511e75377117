// How evenly the sequences of a global batch fall on 64 ranks, by context length and method, with
// the measured cost of packed sequences: attention over the intervals of documents, forward and
// backward, and the products of a layer, both from this machine's kernels.
//
// The corpus is long-tailed: documents of 200 tokens and more by a Pareto law of exponent 0.9.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "base/arena.h"
#include "base/rng.h"
#include "data/balance.h"
#include "data/layout.h"
#include "kernels/cpu/cpu.h"

namespace {

using namespace bessemer;
using Clock = std::chrono::steady_clock;

// A layer of 2048 hidden values and 16 heads; attention is measured on one head.
constexpr std::int64_t kHidden = 2048, kFfn = 5632, kHeads = 16, kHeadSize = 128;
constexpr std::int64_t kRanks = 64, kMicroBatches = 4;

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
    if (type.dtype == DType::fp32) {
      auto* values = reinterpret_cast<float*>(arenas_.back().data());
      for (std::int64_t i = 0; i < type.elements(); ++i) {
        values[i] = static_cast<float>(i * 7919 % 1000) * 1e-3f - 0.5f;
      }
    }
    return arenas_.back().data();
  }

  std::unique_ptr<const kernels::Kernel> kernel_;
  std::vector<Arena> arenas_;
  std::vector<const void*> operands_;
  std::vector<void*> results_;
  Arena scratch_;
};

// Seconds of attention and its gradient over `tokens` in documents of `document` tokens.
double attention_seconds(std::int64_t tokens, std::int64_t document) {
  const TensorType q{DType::fp32, {1, tokens, 1, kHeadSize}}, lse{DType::fp32, {1, 1, tokens}};
  const TensorType visibility{DType::int32, {1, tokens, 2}};
  const Attributes attributes{{"scale", 1 / std::sqrt(double{kHeadSize})}, {"causal", true}};
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
  return forward.seconds() + backward.seconds();
}

// Of a layer's products, forward and twice that backward, for one token.
double product_seconds() {
  constexpr std::int64_t kRows = 1024;
  const TensorType x{DType::fp32, {kRows, kHidden}}, w{DType::fp32, {kHidden, kHidden}};
  Kernel product(kernels::cpu::matmul, {{"transpose_b", true}}, {x, w}, {x});
  const double weights = 4 * double{kHidden} * kHidden + 3 * double{kHidden} * kFfn;
  return 3 * product.seconds() / kRows * weights / (double{kHidden} * kHidden);
}

double pairs_of(std::int64_t tokens, std::int64_t document) {
  const auto n = static_cast<double>(document);
  return static_cast<double>(tokens) / n * n * (n + 1) / 2;
}

// Least squares over packings of one and of many documents.
data::SequenceCost measured_cost() {
  double tt = 0, tp = 0, pp = 0, ts = 0, ps = 0;
  struct Point {
    double tokens, pairs, seconds;
  };
  std::vector<Point> points;
  for (const std::int64_t tokens : {4096, 8192}) {
    for (std::int64_t document = 128; document <= tokens; document *= 4) {
      points.push_back({static_cast<double>(tokens), pairs_of(tokens, document),
                        kHeads * attention_seconds(tokens, document)});
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
  const double products = product_seconds();
  fmt::print(
      "\nattention {:.3g} s a token and {:.3g} s a pair; products {:.3g} s a token: a token "
      "costs as much as {:.0f} pairs\n\n",
      token, pair, products, (token + products) / pair);
  return {token + products, pair};
}

class LongTail final : public data::Streams {
 public:
  std::uint64_t size() const override { return 400'000; }
  Stream at(std::uint64_t i) const override {
    const double uniform = (random_.word(i) + 0.5) * 0x1p-32;
    const double tokens = std::min(200 / std::pow(uniform, 1 / 0.9), 1e6);
    return {static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(tokens)};
  }
  void visit(const std::function<void(const Stream&)>& visitor) const override {
    for (std::uint64_t i = 0; i < size(); ++i) visitor(at(i));
  }

 private:
  CounterRng random_{5, 0, 0};
};

// The costs of sequences packed from the corpus, in the order that training reads them.
std::vector<double> costs_of(std::int64_t context, const data::SequenceCost& cost) {
  const auto layout =
      data::make_layout(LongTail(), {data::Packing::best_fit, context, data::Tail::drop, 1});
  const Permutation order(layout->sequences(), 2);
  std::vector<double> costs;
  for (std::uint64_t n = 0; n < layout->sequences(); ++n) {
    std::vector<std::int64_t> parts;
    layout->visit(order(n), [&](const data::Part& part) { parts.push_back(part.count); });
    costs.push_back(cost(parts));
  }
  return costs;
}

void report(std::int64_t context, const data::SequenceCost& cost) {
  const data::BatchShape shape{kRanks, kMicroBatches, 1};
  const auto step = static_cast<std::size_t>(shape.sequences());
  const std::vector<double> costs = costs_of(context, cost);
  const std::size_t steps = std::min<std::size_t>(costs.size() / step, 50);
  fmt::print("| {} |", context);
  for (const auto method :
       {data::Balance::round_robin, data::Balance::greedy, data::Balance::karmarkar_karp}) {
    double sum = 0, most = 0;
    const auto start = Clock::now();
    for (std::size_t s = 0; s < steps; ++s) {
      const auto batch = std::span(costs).subspan(s * step, step);
      const double spread = data::imbalance(batch, data::balance(batch, shape, method), shape);
      sum += spread;
      most = std::max(most, spread);
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    fmt::print(" {:.3f} ({:.3f}), {:.2f} ms |", sum / static_cast<double>(steps), most,
               1e3 * seconds / static_cast<double>(steps));
  }
  fmt::print("\n");
}

}  // namespace

int main() {
  const data::SequenceCost cost = measured_cost();
  fmt::print("| context | round robin | greedy | Karmarkar-Karp |\n|---|---|---|---|\n");
  for (const std::int64_t context : {4096, 8192, 16384}) report(context, cost);
  return EXIT_SUCCESS;
}
