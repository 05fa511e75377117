// Matrix products of the training shapes, in flop/s beside the machine's measured peak, and the
// training form of the head and loss.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/arena.h"
#include "kernels/cpu/calibrate.h"
#include "kernels/cpu/cpu.h"

namespace bessemer {
namespace {

namespace cpu = kernels::cpu;

double peak_of(DType dtype) {
  static const double fp32 = cpu::measure_matmul_peak(DType::fp32);
  static const double bf16 = cpu::measure_matmul_peak(DType::bf16);
  return dtype == DType::fp32 ? fp32 : bf16;
}

void fill(const Arena& arena, DType dtype, double scale) {
  const auto value = [scale](std::size_t i) {
    return static_cast<float>(scale * (static_cast<double>(i * 7919 % 1000) / 500 - 1));
  };
  for (std::size_t i = 0; i < arena.size() / size_of(dtype); ++i) {
    if (dtype == DType::fp32) reinterpret_cast<float*>(arena.data())[i] = value(i);
    if (dtype == DType::bf16) reinterpret_cast<BFloat16*>(arena.data())[i] = BFloat16(value(i));
    if (dtype == DType::int32) {
      reinterpret_cast<std::int32_t*>(arena.data())[i] = static_cast<std::int32_t>(i % 1000);
    }
  }
}

/// Runs a kernel on filled buffers; `flops` of one run.
void measure(benchmark::State& state, kernels::Prepared (*prepare)(const kernels::KernelRequest&),
             const std::vector<std::optional<TensorType>>& operands,
             const std::vector<TensorType>& results, const Attributes& attributes, double flops,
             DType dtype) {
  const kernels::Machine machine = kernels::Machine::detect();
  const auto prepared = prepare({operands, results, attributes, machine});
  if (const auto* declined = std::get_if<kernels::Declined>(&prepared)) {
    state.SkipWithError(declined->reason.c_str());
    return;
  }
  const auto& kernel = std::get<std::unique_ptr<const kernels::Kernel>>(prepared);
  std::vector<Arena> arenas;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  for (const auto& operand : operands) {
    inputs.push_back(nullptr);
    if (!operand) continue;
    arenas.emplace_back(operand->bytes());
    fill(arenas.back(), operand->dtype, 0.05);
    inputs.back() = arenas.back().data();
  }
  for (const TensorType& result : results) {
    arenas.emplace_back(result.bytes());
    outputs.push_back(arenas.back().data());
  }
  const Arena scratch(kernel->scratch_bytes());
  kernel->run({inputs, outputs, scratch.data()});
  for (auto _ : state) kernel->run({inputs, outputs, scratch.data()});
  const double rate = flops * static_cast<double>(state.iterations());
  state.counters["flop/s"] = benchmark::Counter(rate, benchmark::Counter::kIsRate);
  state.counters["of peak"] =
      benchmark::Counter(rate / peak_of(dtype), benchmark::Counter::kIsRate);
  state.counters["scratch MiB"] = static_cast<double>(scratch.size()) / (1 << 20);
}

enum class Pass { forward, input_gradient, weight_gradient };

/// A linear layer of `in` inputs and `out` outputs on `tokens` rows.
void linear(benchmark::State& state, std::int64_t tokens, std::int64_t in, std::int64_t out,
            DType dtype, Pass pass) {
  const TensorType x{dtype, {tokens, in}}, w{dtype, {out, in}}, y{dtype, {tokens, out}};
  const TensorType dw{DType::fp32, {out, in}};
  const double flops = 2.0 * static_cast<double>(tokens * in * out);
  switch (pass) {
    case Pass::forward:
      return measure(state, cpu::matmul, {x, w}, {y}, {{"transpose_b", true}}, flops, dtype);
    case Pass::input_gradient: return measure(state, cpu::matmul, {y, w}, {x}, {}, flops, dtype);
    case Pass::weight_gradient:
      return measure(state, cpu::matmul, {y, x, {}, dw}, {dw}, {{"transpose_a", true}}, flops,
                     dtype);
  }
}

/// In chunks of so many rows; 0: of the default.
void head_and_loss(benchmark::State& state, DType dtype, std::int64_t chunk) {
  const std::int64_t rows = 1280, hidden = 768, vocabulary = 50257;
  const TensorType x{dtype, {rows, hidden}}, w{dtype, {vocabulary, hidden}};
  const TensorType scalar{DType::fp32, {}}, dw{DType::fp32, {vocabulary, hidden}};
  measure(state, cpu::linear_cross_entropy_train,
          {scalar, x, w, TensorType{DType::int32, {rows}}, {}}, {scalar, x, dw}, {{"chunk", chunk}},
          6.0 * static_cast<double>(rows * hidden * vocabulary), dtype);
}

/// A linear layer on one row, as decoding runs it: the rate at which the weight streams.
void decode(benchmark::State& state, std::int64_t in, std::int64_t out, DType dtype) {
  linear(state, 1, in, out, dtype, Pass::forward);
  state.counters.clear();
  state.SetBytesProcessed(state.iterations() * in * out *
                          static_cast<std::int64_t>(size_of(dtype)));
}

void add_linear(const std::string& name, std::int64_t tokens, std::int64_t in, std::int64_t out) {
  const std::pair<const char*, Pass> passes[] = {{"forward", Pass::forward},
                                                 {"input_gradient", Pass::input_gradient},
                                                 {"weight_gradient", Pass::weight_gradient}};
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    for (const auto& [pass_name, pass] : passes) {
      const std::string full = name + "/" + std::string(name_of(dtype)) + "/" + pass_name;
      benchmark::RegisterBenchmark(full.c_str(), linear, tokens, in, out, dtype, pass)
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
}

const bool registered = [] {
  add_linear("gpt2_124m/qkv", 1024, 768, 2304);
  add_linear("gpt2_124m/attention_out", 1024, 768, 768);
  add_linear("gpt2_124m/up", 1024, 768, 3072);
  add_linear("gpt2_124m/down", 1024, 3072, 768);
  add_linear("llama_60m/q", 4096, 512, 512);
  add_linear("llama_60m/gate", 4096, 512, 1376);
  add_linear("llama_60m/down", 4096, 1376, 512);
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    for (const std::int64_t chunk : {0, 320, 256, 160, 128, 64}) {
      const std::string name = "gpt2_124m/head_and_loss/" + std::string(name_of(dtype)) +
                               (chunk > 0 ? "/chunks_of_" + std::to_string(chunk) : "");
      benchmark::RegisterBenchmark(name.c_str(), head_and_loss, dtype, chunk)
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
    const std::string of_one_row = "gpt2_124m/decode_head/" + std::string(name_of(dtype));
    benchmark::RegisterBenchmark(of_one_row.c_str(), decode, 768, 50257, dtype)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
}  // namespace bessemer
