#include "kernels/cpu/calibrate.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <optional>
#include <thread>
#include <tuple>
#include <variant>
#include <vector>

#include "base/arena.h"
#include "base/error.h"
#include "base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/onednn_product.h"

namespace bessemer::kernels::cpu {
namespace {

constexpr double kSeconds = 0.6;

constexpr double kFastest = 0.1;  // of repeated runs: the rest is what other programs took
constexpr double kMedian = 0.5;

/// That share of the way from the fastest of repeated runs over `seconds` to the slowest.
template <typename Body>
double typical_seconds(double seconds, double share, const Body& body) {
  using Clock = std::chrono::steady_clock;
  body();  // pages and caches
  std::vector<double> runs;
  const auto begin = Clock::now();
  auto last = begin;
  do {
    body();
    const auto now = Clock::now();
    runs.push_back(std::chrono::duration<double>(now - last).count());
    last = now;
  } while (std::chrono::duration<double>(last - begin).count() < seconds || runs.size() < 3);
  std::sort(runs.begin(), runs.end());
  return runs[static_cast<std::size_t>(static_cast<double>(runs.size()) * share)];
}

enum class Operands { same, fresh };  // from run to run: in the caches, or as a step finds them

/// Ones: a zero would be as fast here, but a denormal would not.
Arena ones(std::size_t elements, DType dtype) {
  Arena arena(elements * size_of(dtype));
  if (dtype == DType::bf16) {
    std::fill_n(reinterpret_cast<BFloat16*>(arena.data()), elements, BFloat16(1.0f));
  } else {
    std::fill_n(reinterpret_cast<float*>(arena.data()), elements, 1.0f);
  }
  return arena;
}

/// Seconds of one product; infinite where there is none.
double product_seconds(const ProductSpec& spec, std::unique_ptr<const Product> product,
                       double share = kFastest, Operands operands = Operands::same) {
  if (!product) return INFINITY;
  const std::size_t sets = operands == Operands::fresh ? 24 : 1;
  const auto a_elements = static_cast<std::size_t>(spec.m * spec.k);
  const auto b_elements = static_cast<std::size_t>(spec.k * spec.n);
  const auto result_elements = static_cast<std::size_t>(spec.m * spec.n);
  const Arena a = ones(sets * a_elements, spec.a), b = ones(sets * b_elements, spec.b);
  const Arena result = ones(sets * result_elements, spec.result);  // so that its pages are there
  const Arena scratch(product->scratch_bytes());
  std::size_t set = 0;
  return typical_seconds(kSeconds / 2, share, [&] {
    product->run({a.data() + set * a_elements * size_of(spec.a),
                  b.data() + set * b_elements * size_of(spec.b), nullptr, nullptr,
                  result.data() + set * result_elements * size_of(spec.result), scratch.data()});
    set = (set + 1) % sets;
  });
}

/// A kernel over tensors of ones.
class OnesKernel {
 public:
  OnesKernel(Prepared (*prepare)(const KernelRequest&), const Attributes& attributes,
             const std::vector<TensorType>& operands, const std::vector<TensorType>& results) {
    const std::vector<std::optional<TensorType>> types(operands.begin(), operands.end());
    kernel_ = std::get<std::unique_ptr<const Kernel>>(
        prepare({types, results, attributes, Machine::detect()}));
    for (const TensorType& type : operands) operands_.push_back(add(type));
    for (const TensorType& type : results) results_.push_back(add(type));
    scratch_ = Arena(kernel_->scratch_bytes());
  }

  void run() const { kernel_->run({operands_, results_, scratch_.data()}); }

 private:
  std::byte* add(const TensorType& type) {
    arenas_.push_back(ones(static_cast<std::size_t>(type.elements()), type.dtype));
    return arenas_.back().data();
  }

  std::unique_ptr<const Kernel> kernel_;
  std::vector<Arena> arenas_;
  std::vector<const void*> operands_;
  std::vector<void*> results_;
  Arena scratch_;
};

}  // namespace

double measure_matmul_peak(DType dtype) {
  require(dtype == DType::fp32 || dtype == DType::bf16, "no matrix product of {} to measure",
          name_of(dtype));
  const Machine machine = Machine::detect();
  const std::int64_t large = machine.threads > 8 ? 4096 : 1536;
  double peak = 0;
  for (const auto& [m, n, k] :
       {std::array{large, large, large}, std::array{large, large / 2, large / 2}}) {
    ProductSpec spec;
    spec.m = m;
    spec.n = n;
    spec.k = k;
    spec.a = spec.b = spec.result = dtype;
    double best = product_seconds(spec, make_gemm(spec, machine));
    if (dtype == DType::fp32 || machine.avx512_bf16) {
      best = std::min(best, product_seconds(spec, make_onednn_product(spec)));
    }
    peak = std::max(peak, 2.0 * static_cast<double>(m * n * k) / best);
  }
  return peak;
}

double measure_layer_rate(DType dtype) {
  const Machine machine = Machine::detect();
  const std::int64_t rows = 1024, hidden = 768, wide = 4 * hidden;
  double flops = 0, seconds = 0;
  for (const auto& [m, n, k, transpose_a, transpose_b] :
       {std::tuple{rows, wide, hidden, false, true}, std::tuple{rows, hidden, wide, false, false},
        std::tuple{wide, hidden, rows, true, false}}) {
    ProductSpec spec;
    spec.m = m, spec.n = n, spec.k = k;
    spec.transpose_a = transpose_a, spec.transpose_b = transpose_b;
    spec.a = spec.b = dtype;
    spec.result = transpose_a ? DType::fp32 : dtype;
    flops += 2.0 * static_cast<double>(m * n * k);
    seconds += product_seconds(spec, make_product(spec, machine), kMedian, Operands::fresh);
  }
  return flops / seconds;
}

double measure_attention_rate(DType dtype) {
  const std::int64_t tokens = 2048, heads = 4, head_size = 64;
  const TensorType q{dtype, {1, tokens, heads, head_size}};
  const TensorType lse{DType::fp32, {1, heads, tokens}};
  const Attributes attributes{{"scale", 1 / std::sqrt(static_cast<double>(head_size))},
                              {"causal", true}};
  const OnesKernel forward(attention, attributes, {q, q, q}, {q, lse});
  const OnesKernel backward(attention_grad, attributes, {q, q, q, q, q, lse}, {q, q, q});
  const double seconds = typical_seconds(kSeconds, kMedian, [&] {
    forward.run();
    backward.run();
  });
  const auto pairs = static_cast<double>(heads * tokens * (tokens + 1) / 2);
  constexpr int kProducts = 7;  // two forward, five backward
  return 2 * kProducts * static_cast<double>(head_size) * pairs / seconds;
}

double measure_copy_bandwidth() {
  constexpr std::int64_t kBytes = std::int64_t{512} << 20;
  const Arena from(kBytes), to(kBytes);
  parallel_for(kBytes, 4096, [&](std::int64_t begin, std::int64_t end) {
    std::memset(from.data() + begin, 1, static_cast<std::size_t>(end - begin));
  });
  const double seconds = typical_seconds(kSeconds, kFastest, [&] {
    parallel_for(kBytes, 4096, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(to.data() + begin, from.data() + begin, static_cast<std::size_t>(end - begin));
    });
  });
  return 2.0 * static_cast<double>(kBytes) / seconds;
}

double measure_link_bandwidth() {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kBytes = std::size_t{256} << 20, kPart = std::size_t{4} << 20;
  const Arena from(kBytes), to(kBytes);
  std::memset(from.data(), 1, kBytes);
  std::memset(to.data(), 1, kBytes);
  ProductSpec spec;
  spec.m = spec.n = spec.k = 768;
  spec.a = spec.b = spec.result = DType::fp32;
  const auto product = make_gemm(spec, Machine::detect());
  const auto elements = static_cast<std::size_t>(spec.m * spec.n);
  const Arena a(4 * elements), b(4 * elements), result(4 * elements);
  const Arena scratch(product->scratch_bytes());
  double rate = 0;
  std::atomic<bool> done = false;
  std::thread copies([&] {
    const auto start = Clock::now();
    double seconds = 0;
    std::size_t moved = 0;
    for (std::size_t at = 0; seconds < kSeconds; at = (at + kPart) % kBytes) {
      std::memcpy(to.data() + at, from.data() + at, kPart);
      moved += kPart;
      seconds = std::chrono::duration<double>(Clock::now() - start).count();
    }
    rate = static_cast<double>(moved) / seconds;
    done = true;
  });
  while (!done) {
    product->run({a.data(), b.data(), nullptr, nullptr, result.data(), scratch.data()});
  }
  copies.join();
  return rate;
}

}  // namespace bessemer::kernels::cpu
