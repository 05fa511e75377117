// The kernels of the CUDA backend on device 0, one line each: what moves memory as GB/s beside the
// copy that the same device makes, what multiplies matrices as TFLOP/s. Bytes and flops are the
// ops' own account (OpDefinition::work), time the median of many runs between two events. Sizes are
// those of a 7-billion-parameter model's layer, far beyond the caches.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/rng.h"
#include "kernels/cuda/cudnn_attention.h"
#include "kernels/cuda/device.h"
#include "kernels/elementwise_ops.h"
#include "kernels/fp8.h"
#include "ops/op.h"

namespace bessemer {
namespace {

namespace cuda = kernels::cuda;

constexpr int kRuns = 31;

struct Bench {
  std::string label;
  std::string op;
  std::vector<std::optional<TensorType>> operands;
  Attributes attributes;
  std::int64_t ids_below = 1;  // what integer operands are filled with
  // A kernel that is in no list yet, instead of the op's.
  std::optional<kernels::KernelCandidate> candidate = std::nullopt;
};

/// Numbers spread evenly over [-0.5, 0.5), or ids; scalars are 0.5 or 1.
std::vector<std::byte> contents(const TensorType& type, std::int64_t ids_below,
                                std::uint32_t seed) {
  std::vector<std::byte> bytes(type.bytes());
  const std::int64_t elements = type.elements();
  std::uint32_t word = seed * 2654435769u;
  for (std::int64_t i = 0; i < elements; ++i) {
    word = word * 1664525u + 1013904223u;
    const float value = elements == 1 ? 0.5f : static_cast<float>(word >> 8) * 0x1p-24f - 0.5f;
    const std::int64_t id = elements == 1 ? 1 : static_cast<std::int64_t>(word >> 8) % ids_below;
    const auto put = [&](auto as) { std::memcpy(&bytes[i * sizeof as], &as, sizeof as); };
    switch (type.dtype) {
      case DType::fp64: put(static_cast<double>(value)); break;
      case DType::fp32: put(value); break;
      case DType::bf16: put(BFloat16(value)); break;
      case DType::fp8_e4m3: put(Fp8E4M3(value)); break;
      case DType::fp8_e5m2: put(Fp8E5M2(value)); break;
      case DType::int32: put(static_cast<std::int32_t>(id)); break;
      case DType::int64: put(id); break;
      default: fail("no contents of {}", name_of(type.dtype));
    }
  }
  return bytes;
}

class Buffers {
 public:
  explicit Buffers(cuda::Device& device) : device_(device) {}
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;
  ~Buffers() {
    for (void* memory : memory_) device_.free(memory);
  }
  void* add(std::size_t bytes) {
    memory_.push_back(device_.allocate(bytes));
    return memory_.back();
  }

 private:
  cuda::Device& device_;
  std::vector<void*> memory_;
};

class Clock {
 public:
  explicit Clock(cuda::Device& device)
      : device_(device),
        stream_(device.new_stream()),
        from_(device.new_event()),
        to_(device.new_event()) {}

  cuda::Stream stream() const { return stream_; }
  void wait() { device_.synchronize(stream_); }

  /// The median of the runs, in seconds; the first few are not counted.
  template <typename Run>
  double median(const Run& run) {
    std::vector<double> seconds;
    for (int i = -3; i < kRuns; ++i) {
      device_.record(from_, stream_);
      run();
      device_.record(to_, stream_);
      wait();
      if (i >= 0) seconds.push_back(device_.seconds(from_, to_));
    }
    std::nth_element(seconds.begin(), seconds.begin() + kRuns / 2, seconds.end());
    return seconds[kRuns / 2];
  }

 private:
  cuda::Device& device_;
  cuda::Stream stream_;
  cuda::Event from_, to_;
};

/// Bytes per second, read and written, of a copy within the device.
double copy_peak(cuda::Device& device, Clock& clock) {
  const std::size_t bytes = std::size_t{1} << 30;
  Buffers buffers(device);
  void *from = buffers.add(bytes), *to = buffers.add(bytes);
  const double seconds = clock.median([&] { cuda::copy(to, from, bytes, clock.stream()); });
  return 2.0 * static_cast<double>(bytes) / seconds;
}

struct Chosen {
  std::string_view name;
  std::unique_ptr<const kernels::Kernel> kernel;
};

/// The first CUDA candidate that takes it, as the planner chooses; else the reasons of all.
Chosen choose(std::span<const kernels::KernelCandidate> candidates,
              const kernels::KernelRequest& request) {
  std::string reasons;
  for (const kernels::KernelCandidate& candidate : candidates) {
    if (candidate.backend != kernels::Backend::cuda) continue;
    kernels::Prepared prepared = candidate.prepare(request);
    if (auto* kernel = std::get_if<std::unique_ptr<const kernels::Kernel>>(&prepared)) {
      return {candidate.name, std::move(*kernel)};
    }
    reasons +=
        fmt::format(" {}: {};", candidate.name, std::get<kernels::Declined>(prepared).reason);
  }
  throw InputError(reasons.empty() ? "no CUDA kernel" : "declined:" + reasons);
}

/// A bench with the kernel that was chosen for it.
struct Prepared {
  ops::OpUse use;
  std::vector<TensorType> results;
  Chosen chosen;

  Prepared(const Bench& bench, int compute_capability) : use{bench.operands, bench.attributes} {
    const ops::OpDefinition& op = ops::definition_of(bench.op);
    results = op.infer(use);
    kernels::Machine machine = kernels::Machine::detect();
    machine.device = kernels::Backend::cuda;
    machine.compute_capability = compute_capability;
    const kernels::KernelRequest request{use.operands, results, use.attributes, machine};
    chosen =
        bench.candidate ? choose({&*bench.candidate, 1}, request) : choose(op.candidates, request);
  }
};

void measure(cuda::Device& device, Clock& clock, const Bench& bench, double peak) {
  const Prepared prepared(bench, device.properties().compute_capability);
  const kernels::Kernel& kernel = *prepared.chosen.kernel;

  Buffers buffers(device);
  std::vector<const void*> inputs;
  for (const auto& type : bench.operands) {
    inputs.push_back(nullptr);
    if (!type) continue;
    const auto bytes = contents(*type, bench.ids_below, static_cast<std::uint32_t>(inputs.size()));
    void* memory = buffers.add(bytes.size());
    cuda::copy(memory, bytes.data(), bytes.size(), clock.stream());
    clock.wait();
    inputs.back() = memory;
  }
  std::vector<void*> outputs;
  for (const TensorType& type : prepared.results) outputs.push_back(buffers.add(type.bytes()));
  void* scratch = buffers.add(kernel.scratch_bytes());
  kernel.load();
  const double seconds = clock.median([&] {
    kernel.run({inputs, outputs, scratch, clock.stream()});
  });

  const ops::Work work = ops::definition_of(bench.op).work(prepared.use, prepared.results);
  const double bytes = work.bytes_read + work.bytes_written;
  std::string rate = fmt::format("{:8.0f} GB/s {:5.1f}% of copy", bytes / seconds / 1e9,
                                 100 * bytes / seconds / peak);
  if (work.unit != ops::Unit::vector) {
    rate = fmt::format("{:8.1f} TFLOP/s", work.flops / seconds / 1e12);
  }
  fmt::print("{:<44} {:<28} {:9.1f} us {}\n", bench.label, prepared.chosen.name, seconds * 1e6,
             rate);
}

TensorType bf16(Shape shape) { return {DType::bf16, std::move(shape)}; }
TensorType fp32(Shape shape) { return {DType::fp32, std::move(shape)}; }
TensorType int32(Shape shape) { return {DType::int32, std::move(shape)}; }

constexpr std::int64_t kBatch = 8, kTokens = 2048, kRows = kBatch * kTokens;
constexpr std::int64_t kHidden = 4096, kInner = 11008, kVocabulary = 32000;

/// With its transpose, as linear layers want it; an amax of the next step's scale is measured too.
Bench quantize(const std::string& block) {
  Bench bench{"quantize_fp8 " + block + " + transpose",
              "quantize_fp8",
              {bf16({kRows, kHidden})},
              {{"format", std::string("e4m3")}, {"block", block}, {"transposed", true}}};
  if (block != "tensor") return bench;
  bench.operands.emplace_back(fp32({}));
  bench.attributes.set("measure", true);
  return bench;
}

/// The same of what a program makes of the operands.
Bench quantize_made(const std::string& name, const std::string& program,
                    std::vector<TensorType> operands, std::size_t values, bool backward) {
  Bench bench = quantize("tensor");
  bench.label = name + " + quantize_fp8 + transpose";
  operands.push_back(fp32({2}));
  bench.operands.assign(operands.begin(), operands.end());
  bench.attributes.set("program", program);
  bench.attributes.set("format", std::string(backward ? "e5m2" : "e4m3"));
  bench.attributes.set("indices", std::vector<std::int64_t>(values, 1));
  return bench;
}

/// Of many tensors in one launch, which also writes their bf16 weights.
Bench adamw_of_all(Attributes attributes) {
  constexpr std::size_t kTensors = 128;
  const TensorType scalar = fp32({}), parameter = fp32({256, kHidden});
  Bench bench{"adamw_update_all fp32 + weights",
              "adamw_update_all",
              {scalar, TensorType{DType::int64, {}}, scalar},
              std::move(attributes)};
  bench.operands.insert(bench.operands.end(), 4 * kTensors, parameter);
  bench.attributes.set("weight", std::string("bf16"));
  bench.attributes.set("decays", std::vector<std::int64_t>(kTensors, 1));
  bench.attributes.set("weights", std::vector<std::int64_t>(kTensors, 1));
  return bench;
}

std::vector<Bench> of_memory() {
  const TensorType x = bf16({kRows, kHidden}), gain = fp32({kHidden}), statistic = fp32({kRows});
  const TensorType inner = bf16({kRows, kInner}), ids = int32({kRows});
  const TensorType parameter = fp32({kInner, kHidden}), scalar = fp32({});
  const Attributes epsilon{{"epsilon", 1e-5}};
  const TensorType rounded = bf16(parameter.shape);
  const Attributes adamw{{"beta1", 0.9},        {"beta2", 0.95}, {"epsilon", 1e-8},
                         {"weight_decay", 0.1}, {"seed", 1},     {"site", 1}};
  return {
      {"rms_norm", "rms_norm", {x, gain}, epsilon},
      {"rms_norm_grad + addend", "rms_norm_grad", {x, x, gain, statistic, x}, {}},
      {"layer_norm", "layer_norm", {x, gain, gain}, epsilon},
      {"layer_norm_grad + addend", "layer_norm_grad", {x, x, gain, statistic, statistic, x}, {}},
      {"swiglu", "swiglu", {inner, inner}, {}},
      {"swiglu_grad", "swiglu_grad", {inner, inner, inner}, {}},
      {"fused: multiply, gelu, add",
       "fused",
       {inner, inner, inner},
       {{"program",
         std::string("t0 = multiply x0 x1; t1 = gelu_tanh t0; t2 = add t1 x2; return t2")}}},
      {"rope",
       "rope",
       {bf16({kBatch, kTokens, 32, 128}), int32({kBatch, kTokens})},
       {{"theta", 10000.0}},
       kTokens},
      {"adamw_update fp32",
       "adamw_update",
       {parameter, parameter, parameter, parameter, scalar, TensorType{DType::int64, {}}, scalar},
       adamw},
      {"adamw_update bf16",
       "adamw_update",
       {rounded, parameter, parameter, parameter, scalar, TensorType{DType::int64, {}}, scalar},
       adamw},
      adamw_of_all(adamw),
      {"add of a vector", "add", {gain, gain}, {}},
      {"add_all of 128 vectors", "add_all", std::vector<std::optional<TensorType>>(256, gain), {}},
      {"sum_of_squares fp32", "sum_of_squares", {parameter}, {}},
      {"cross_entropy_rows_train",
       "cross_entropy_rows_train",
       {fp32({kRows, kVocabulary}), ids, scalar},
       {},
       kVocabulary},
      {"embedding", "embedding", {bf16({kVocabulary, kHidden}), ids}, {}, kVocabulary},
      {"embedding_grad", "embedding_grad", {x, ids}, {{"rows", kVocabulary}}, kVocabulary},
      {"reduce_sum of rows", "reduce_sum", {x}, {{"dims", std::vector<std::int64_t>{0}}}},
      {"amax", "amax", {x}, {}},
      quantize("tensor"),
      quantize("1x128"),
      quantize("128x128"),
      {"norm_statistics", "norm_statistics", {x}, {{"epsilon", 1e-5}, {"centred", false}}},
      quantize_made("rms_norm", kernels::elementwise::kRmsNorm, {x, fp32({kRows, 1}), gain}, 1,
                    false),
      quantize_made("swiglu", kernels::elementwise::kSwiglu, {inner, inner}, 1, false),
      quantize_made("swiglu_grad", kernels::elementwise::kSwigluGrad, {inner, inner, inner}, 2,
                    true),
      quantize_made("gelu_tanh_grad", kernels::elementwise::kGeluTanhGrad, {inner, inner}, 1, true),
  };
}

TensorType scales_of(const std::string& block, const Shape& shape) {
  const kernels::Fp8Block of = *kernels::parse_fp8_block(block);
  return fp32(kernels::fp8_scale_shape(of, {shape[0], shape[1]}));
}

Bench of_fp8(const std::string& label, const Shape& a, const std::string& block_a, const Shape& b,
             const std::string& block_b, const char* dtype) {
  const TensorType q_a{DType::fp8_e4m3, a}, q_b{DType::fp8_e4m3, b};
  Bench bench{label + " " + block_a + (block_a == block_b ? "" : " x " + block_b),
              "scaled_matmul",
              {q_a, scales_of(block_a, a), q_b, scales_of(block_b, b)},
              {{"block_a", block_a}, {"block_b", block_b}, {"dtype", std::string(dtype)}}};
  if (std::string(dtype) == "fp32") {  // gradients of weights are added up
    bench.operands.resize(6);
    bench.operands[5] = fp32({a[0], b[0]});
  }
  return bench;
}

std::vector<Bench> of_fp8_arithmetic() {
  const Shape x{kRows, kHidden}, w{kInner, kHidden}, dy_t{kInner, kRows}, x_t{kHidden, kRows};
  const Shape square{8192, 8192};
  return {of_fp8("fp8 8192 x 8192 x 8192", square, "tensor", square, "tensor", "bf16"),
          of_fp8("fp8 forward", x, "tensor", w, "tensor", "bf16"),
          of_fp8("fp8 forward", x, "1x128", w, "128x128", "bf16"),
          of_fp8("fp8 of weight", dy_t, "tensor", x_t, "tensor", "fp32"),
          of_fp8("fp8 of weight", dy_t, "1x128", x_t, "1x128", "fp32")};
}

std::vector<Bench> of_arithmetic() {
  const Attributes forward{{"transpose_b", true}},
      of_weight{{"transpose_a", true}, {"dtype", std::string("fp32")}};
  Attributes of_weight_and_bias = of_weight;
  of_weight_and_bias.set("row_sums", true);
  std::vector<Bench> benches = {
      {"matmul 8192 x 8192 x 8192 (peak)",
       "matmul",
       {bf16({8192, 8192}), bf16({8192, 8192})},
       forward},
      {"matmul forward 16384 x 4096 x 11008",
       "matmul",
       {bf16({kRows, kHidden}), bf16({kInner, kHidden})},
       forward},
      {"matmul of input 16384 x 11008 x 4096",
       "matmul",
       {bf16({kRows, kInner}), bf16({kInner, kHidden})},
       {}},
      {"matmul of weight 11008 x 16384 x 4096",
       "matmul",
       {bf16({kRows, kInner}), bf16({kRows, kHidden}), std::nullopt, fp32({kInner, kHidden})},
       of_weight},
      {"matmul of weight + sums of rows",
       "matmul",
       {bf16({kRows, kInner}), bf16({kRows, kHidden}), std::nullopt, fp32({kInner, kHidden})},
       of_weight_and_bias},
      {"matmul forward 8192 x 768 x 3072",
       "matmul",
       {bf16({8192, 768}), bf16({3072, 768})},
       forward},
      {"matmul tf32 16384 x 4096 x 11008",
       "matmul",
       {fp32({kRows, kHidden}), fp32({kInner, kHidden})},
       {{"transpose_b", true}, {"tf32", true}}},
  };
  for (const std::int64_t tokens : {std::int64_t{1024}, std::int64_t{4096}}) {
    for (const auto& [head_size, key_heads] :
         {std::pair<std::int64_t, std::int64_t>{64, 16}, {128, 4}}) {
      const std::int64_t batch = 16384 / tokens, heads = 16;
      const TensorType q = bf16({batch, tokens, heads, head_size});
      const TensorType k = bf16({batch, tokens, key_heads, head_size});
      const Attributes causal{{"scale", 0.125}, {"causal", true}};
      const std::string shape =
          fmt::format("{} tokens, {}/{} heads of {}", tokens, heads, key_heads, head_size);
      const ops::OpUse use{{q, k, k}, causal};
      const auto y = ops::definition_of("attention").infer(use);
      constexpr auto kCuda = kernels::Backend::cuda;
      benches.push_back({"attention " + shape, "attention", {q, k, k}, causal});
      benches.push_back(benches.back());
      benches.back().candidate = {"cudnn.attention", cuda::cudnn_attention, kCuda};
      benches.push_back(
          {"attention_grad " + shape, "attention_grad", {q, q, k, k, q, y[1]}, causal});
      benches.push_back(benches.back());
      benches.back().candidate = {"cudnn.attention_grad", cuda::cudnn_attention_grad, kCuda};
    }
  }
  return benches;
}

/// Calls body(bench) for each; how many it failed for.
template <typename Body>
int for_each_bench(const Body& body) {
  int failures = 0;
  for (const auto& benches : {of_memory(), of_arithmetic(), of_fp8_arithmetic()}) {
    for (const Bench& bench : benches) {
      try {
        body(bench);
      } catch (const Error& error) {
        if (!bench.candidate) ++failures;  // what no plan takes may be missing
        fmt::print("{:<44} not measured: {}\n", bench.label, error.what());
      }
      std::fflush(stdout);
    }
  }
  return failures;
}

/// How many could not be measured.
int run_all() {
  const cuda::Devices found = cuda::find_devices();
  if (found.devices.empty()) {
    fmt::print("no device, nothing measured: {}\nwhat an H100 would run:\n", found.problem);
    return for_each_bench([](const Bench& bench) {
      fmt::print("{:<44} {}\n", bench.label, Prepared(bench, 90).chosen.name);
    });
  }
  const std::unique_ptr<cuda::Device> device = cuda::open_device(0);
  Clock clock(*device);
  const double peak = copy_peak(*device, clock);
  fmt::print("{}, copies {:.0f} GB/s (read plus written); medians of {} runs\n",
             device->properties().name, peak / 1e9, kRuns);
  return for_each_bench([&](const Bench& bench) { measure(*device, clock, bench, peak); });
}

}  // namespace
}  // namespace bessemer

int main() { return bessemer::run_all() == 0 ? 0 : 1; }
