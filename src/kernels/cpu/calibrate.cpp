#include "kernels/cpu/calibrate.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#include "base/arena.h"
#include "base/error.h"
#include "base/parallel.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/onednn_product.h"

namespace bessemer::kernels::cpu {
namespace {

constexpr double kSeconds = 0.6;

/// The fastest tenth of repeated runs over `seconds`: the rest is what other programs took.
template <typename Body>
double typical_seconds(double seconds, const Body& body) {
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
  return runs[runs.size() / 10];
}

/// Seconds of one product; infinite where there is none.
double product_seconds(const ProductSpec& spec, std::unique_ptr<const Product> product) {
  if (!product) return INFINITY;
  const auto bytes = [](std::int64_t elements, DType dtype) {
    return static_cast<std::size_t>(elements) * size_of(dtype);
  };
  // Ones: a zero would be as fast here, but a denormal would not.
  const Arena a(bytes(spec.m * spec.k, spec.a)), b(bytes(spec.k * spec.n, spec.b));
  for (const Arena* operand : {&a, &b}) {
    if (spec.a == DType::bf16) {
      std::fill_n(reinterpret_cast<BFloat16*>(operand->data()), operand->size() / 2,
                  BFloat16(1.0f));
    } else {
      std::fill_n(reinterpret_cast<float*>(operand->data()), operand->size() / 4, 1.0f);
    }
  }
  const Arena result(bytes(spec.m * spec.n, spec.result)), scratch(product->scratch_bytes());
  return typical_seconds(kSeconds / 2, [&] {
    product->run({a.data(), b.data(), nullptr, nullptr, result.data(), scratch.data()});
  });
}

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

double measure_copy_bandwidth() {
  constexpr std::int64_t kBytes = std::int64_t{512} << 20;
  const Arena from(kBytes), to(kBytes);
  parallel_for(kBytes, 4096, [&](std::int64_t begin, std::int64_t end) {
    std::memset(from.data() + begin, 1, static_cast<std::size_t>(end - begin));
  });
  const double seconds = typical_seconds(kSeconds, [&] {
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
