// Attention forward and backward on the CPU: GFLOP/s of the visible query-key pairs, 4 D flops a
// pair forward and 10 D backward, so that skipped blocks earn nothing.

#include <cmath>
#include <memory>
#include <optional>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/arena.h"
#include "base/rng.h"
#include "kernels/cpu/cpu.h"

namespace bessemer {
namespace {

struct Size {
  std::int64_t batch, tokens, heads, key_heads, head_size;
};

constexpr Size kSizes[] = {{4, 256, 12, 12, 64}, {8, 512, 8, 4, 64}, {8, 1024, 12, 12, 64}};

/// Tensors in an arena of their own, filled with numbers.
class Tensors {
 public:
  explicit Tensors(const std::vector<TensorType>& types) {
    std::size_t bytes = 0;
    for (const TensorType& type : types) bytes += align_up(type.bytes());
    arena_ = Arena(bytes);
    std::byte* next = arena_.data();
    for (const TensorType& type : types) {
      pointers_.push_back(next);
      fill(type, next, pointers_.size());
      next += align_up(type.bytes());
    }
  }
  std::vector<void*> pointers() const { return pointers_; }

 private:
  static void fill(const TensorType& type, void* data, std::uint64_t seed) {
    const PhiloxCounter words = CounterRng(seed, 0, 0).block(0);
    const std::int64_t elements = type.elements();
    for (std::int64_t i = 0; i < elements; ++i) {
      // Additive recurrence: spread evenly over [-0.5, 0.5), and quick to make.
      const std::uint32_t word = words[0] + static_cast<std::uint32_t>(i) * 2654435769u;
      const float value = static_cast<float>(word >> 8) * 0x1p-24f - 0.5f;
      if (type.dtype == DType::bf16) {
        static_cast<BFloat16*>(data)[i] = BFloat16(value);
      } else {
        static_cast<float*>(data)[i] = value;
      }
    }
  }

  Arena arena_;
  std::vector<void*> pointers_;
};

/// One kernel with its buffers, ready to run.
class Runner {
 public:
  Runner(kernels::Prepared (*prepare)(const kernels::KernelRequest&), const Attributes& attributes,
         const std::vector<TensorType>& operands, const std::vector<TensorType>& results)
      : operands_(operands), results_(results) {
    const std::vector<std::optional<TensorType>> types(operands.begin(), operands.end());
    const kernels::Machine machine = kernels::Machine::detect();
    kernel_ = std::get<std::unique_ptr<const kernels::Kernel>>(
        prepare({types, results, attributes, machine}));
    scratch_ = Arena(kernel_->scratch_bytes());
    for (void* p : operands_.pointers()) operand_pointers_.push_back(p);
    result_pointers_ = results_.pointers();
  }
  void run() { kernel_->run({operand_pointers_, result_pointers_, scratch_.data()}); }

 private:
  Tensors operands_, results_;
  std::unique_ptr<const kernels::Kernel> kernel_;
  Arena scratch_;
  std::vector<const void*> operand_pointers_;
  std::vector<void*> result_pointers_;
};

void attention(benchmark::State& state, Size size, DType dtype, bool backward) {
  const TensorType q{dtype, {size.batch, size.tokens, size.heads, size.head_size}};
  const TensorType k{dtype, {size.batch, size.tokens, size.key_heads, size.head_size}};
  const TensorType lse{DType::fp32, {size.batch, size.heads, size.tokens}};
  const Attributes attributes{{"scale", 1.0 / std::sqrt(static_cast<double>(size.head_size))},
                              {"causal", true}};
  Runner runner =
      backward ? Runner(kernels::cpu::attention_grad, attributes, {q, q, k, k, q, lse}, {q, k, k})
               : Runner(kernels::cpu::attention, attributes, {q, k, k}, {q, lse});
  for (auto _ : state) runner.run();
  const double tokens = static_cast<double>(size.tokens);
  const double pairs = static_cast<double>(size.batch * size.heads) * tokens * (tokens + 1) / 2;
  const double flops = pairs * static_cast<double>(size.head_size) * (backward ? 10 : 4);
  state.counters["GFLOP/s"] =
      benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void register_all() {
  for (const bool backward : {false, true}) {
    for (const DType dtype : {DType::fp32, DType::bf16}) {
      for (const Size& size : kSizes) {
        const std::string name = fmt::format(
            "{}/{}/B={}/T={}/H={}/K={}/D={}", backward ? "attention_grad" : "attention",
            name_of(dtype), size.batch, size.tokens, size.heads, size.key_heads, size.head_size);
        benchmark::RegisterBenchmark(name.c_str(), attention, size, dtype, backward)
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime();
      }
    }
  }
}

[[maybe_unused]] const bool registered = (register_all(), true);

}  // namespace
}  // namespace bessemer
