// Achieved bandwidth of the element-wise kernels, beside a plain copy. Bytes are those that must
// move: every operand read once, every result written once.
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/arena.h"
#include "base/parallel.h"
#include "base/tensor_type.h"
#include "kernels/cpu/cpu.h"
#include "kernels/quantized_blocks.h"

namespace bessemer {
namespace {

namespace cpu = kernels::cpu;
using kernels::Prepared;
using PrepareFn = Prepared (*)(const kernels::KernelRequest&);

/// A prepared kernel with buffers of its own, filled with small values.
class Subject {
 public:
  /// `in_place[i]` is the operand whose buffer result i takes; the results beyond have their own.
  Subject(PrepareFn prepare, std::vector<TensorType> operands, std::vector<TensorType> results,
          const Attributes& attributes, const std::vector<std::size_t>& in_place = {}) {
    std::vector<std::optional<TensorType>> types(operands.begin(), operands.end());
    const kernels::Machine machine = kernels::Machine::detect();
    Prepared prepared = prepare({types, results, attributes, machine});
    if (const auto* declined = std::get_if<kernels::Declined>(&prepared))
      fail("{}", declined->reason);
    kernel_ = std::move(std::get<std::unique_ptr<const kernels::Kernel>>(prepared));
    scratch_ = Arena(kernel_->scratch_bytes());
    for (const TensorType& type : operands) operands_.push_back(allocate(type));
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (i < in_place.size()) {
        results_.push_back(const_cast<void*>(operands_[in_place[i]]));
        bytes_ += results[i].bytes();
      } else {
        results_.push_back(allocate(results[i]));
      }
    }
  }

  void run() { kernel_->run({operands_, results_, scratch_.data()}); }
  std::size_t bytes() const { return bytes_; }

 private:
  void* allocate(const TensorType& type) {
    arenas_.emplace_back(type.bytes());
    bytes_ += type.bytes();
    auto* data = arenas_.back().data();
    // 0x3c bytes are about 0.01 in fp32 and in bf16; integers stay zero.
    if (is_floating(type.dtype)) std::memset(data, 0x3c, type.bytes());
    return data;
  }

  std::unique_ptr<const kernels::Kernel> kernel_;
  std::vector<Arena> arenas_;
  Arena scratch_;
  std::vector<const void*> operands_;
  std::vector<void*> results_;
  std::size_t bytes_ = 0;
};

void measure(benchmark::State& state, Subject subject) {
  subject.run();
  for (auto _ : state) {
    subject.run();
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(subject.bytes()) * state.iterations());
}

constexpr std::int64_t kTokens = 8192, kHidden = 2048;

void benchmarks_of(DType dtype) {
  const TensorType x{dtype, {kTokens, kHidden}}, vector{DType::fp32, {kHidden}};
  const TensorType statistic{DType::fp32, {kTokens}};
  const Attributes epsilon{{"epsilon", 1e-5}}, tanh{{"approximate", "tanh"}};
  const Attributes exact{{"approximate", "none"}};
  const Attributes chain{
      {"program",
       "t0 = add x0 x1; t1 = gelu_tanh t0; t2 = multiply t1 x2; t3 = scale t2 2; return t3"}};
  const auto add = [&](const char* name, PrepareFn prepare, std::vector<TensorType> operands,
                       std::vector<TensorType> results, const Attributes& attributes = {}) {
    benchmark::RegisterBenchmark((std::string(name) + "/" + std::string(name_of(dtype))).c_str(),
                                 [=](benchmark::State& state) {
                                   measure(state, Subject(prepare, operands, results, attributes));
                                 })
        ->UseRealTime();
  };
  const TensorType quantized{DType::int8, {kTokens, kernels::quantized_width(kHidden)}};
  add("copy", cpu::reshape, {x}, {x});
  add("quantize_blocks", cpu::quantize_blocks, {x}, {quantized});
  add("dequantize_blocks", cpu::dequantize_blocks, {quantized}, {x});
  add("layer_norm", cpu::layer_norm, {x, vector, vector}, {x, statistic, statistic}, epsilon);
  add("layer_norm_grad", cpu::layer_norm_grad, {x, x, vector, statistic, statistic, x},
      {x, vector, vector});
  add("rms_norm", cpu::rms_norm, {x, vector}, {x, statistic}, epsilon);
  add("rms_norm_grad", cpu::rms_norm_grad, {x, x, vector, statistic, x}, {x, vector});
  add("add", cpu::add, {x, x}, {x});
  add("gelu_tanh", cpu::gelu, {x}, {x}, tanh);
  add("gelu", cpu::gelu, {x}, {x}, exact);
  add("gelu_grad", cpu::gelu_grad, {x, x}, {x}, exact);
  add("swiglu", cpu::swiglu, {x, x}, {x});
  add("swiglu_grad", cpu::swiglu_grad, {x, x, x}, {x, x});
  add("fused_chain_of_4", cpu::fused, {x, x, vector}, {x}, chain);
  add("dropout", cpu::dropout, {x, {DType::int64, {3}}}, {x}, {{"probability", 0.1}, {"site", 1}});
  add("rope", cpu::rope, {{dtype, {8, 1024, 32, 64}}, {DType::int32, {8, 1024}}},
      {{dtype, {8, 1024, 32, 64}}}, {{"theta", 10000.0}});
  add("reduce_sum_rows", cpu::reduce_sum, {x}, {vector}, {{"dims", std::vector<std::int64_t>{0}}});
  add("transpose", cpu::transpose, {x}, {{dtype, {kHidden, kTokens}}},
      {{"permutation", std::vector<std::int64_t>{1, 0}}});
  add("embedding_grad", cpu::embedding_grad, {x, {DType::int32, {kTokens}}},
      {{DType::fp32, {16, kHidden}}}, {{"rows", 16}});
  add("global_norm", cpu::global_norm, {x}, {{DType::fp32, {}}});
}

void adamw(benchmark::State& state, DType dtype) {
  const TensorType m{DType::fp32, {10'000'000}}, scalar{DType::fp32, {}}, p{dtype, m.shape};
  measure(state,
          Subject(cpu::adamw_update, {p, m, m, m, scalar, {DType::int64, {}}, scalar}, {p, m, m},
                  {{"beta1", 0.9},
                   {"beta2", 0.95},
                   {"epsilon", 1e-8},
                   {"weight_decay", 0.1},
                   {"seed", 1},
                   {"site", 1}},
                  {0, 2, 3}));  // as the plan places them
}
BENCHMARK_CAPTURE(adamw, fp32, DType::fp32)->Name("adamw_update/10M")->UseRealTime();
BENCHMARK_CAPTURE(adamw, bf16, DType::bf16)->Name("adamw_update/bf16/10M")->UseRealTime();

const bool registered = [] {
  benchmarks_of(DType::fp32);
  benchmarks_of(DType::bf16);
  return true;
}();

}  // namespace
}  // namespace bessemer
