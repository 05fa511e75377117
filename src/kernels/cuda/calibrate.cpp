#include "kernels/cuda/calibrate.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "base/rng.h"
#include "kernels/cuda/cuda.h"

namespace bessemer::kernels::cuda {
namespace {

/// Repeated runs between two events.
class Timer {
 public:
  Timer(Device& device, const CalibrationSizes& sizes)
      : device_(device),
        sizes_(sizes),
        stream_(device.new_stream()),
        from_(device.new_event()),
        to_(device.new_event()) {}

  Stream stream() const { return stream_; }

  /// Seconds of one run in the median of the rounds; `run` queues on the stream.
  template <typename Run>
  double median(const Run& run) {
    const std::vector<double> rounds = sorted_rounds(run);
    return rounds[rounds.size() / 2];
  }
  template <typename Run>
  double fastest(const Run& run) {
    return sorted_rounds(run).front();
  }

 private:
  template <typename Run>
  std::vector<double> sorted_rounds(const Run& run) {
    of_round(run, 1);  // code is loaded, clocks go up
    const double runs = std::clamp(sizes_.round_seconds / of_round(run, 1), 1.0,
                                   static_cast<double>(sizes_.most_runs));
    std::vector<double> rounds;
    for (int i = 0; i < sizes_.rounds; ++i) rounds.push_back(of_round(run, static_cast<int>(runs)));
    std::sort(rounds.begin(), rounds.end());
    return rounds;
  }

  template <typename Run>
  double of_round(const Run& run, int runs) {
    device_.record(from_, stream_);
    for (int i = 0; i < runs; ++i) run();
    device_.record(to_, stream_);
    device_.synchronize(stream_);
    return std::max(device_.seconds(from_, to_), 1e-9) / runs;
  }

  Device& device_;
  const CalibrationSizes& sizes_;
  Stream stream_;
  Event from_, to_;
};

struct Tensor {
  TensorType type;
  void* data;
};

/// Device and host memory, freed together.
class Memory {
 public:
  Memory(Device& device, Stream stream) : device_(device), stream_(stream) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    try {
      for (void* memory : on_device_) device_.free(memory);
      for (void* memory : on_host_) device_.free_host(memory);
    } catch (const Error&) {  // a device that failed fails here again, and has said so
    }
  }

  /// Zeros.
  void* bytes(std::size_t count) {
    on_device_.push_back(device_.allocate(count));
    return on_device_.back();
  }
  void* host_bytes(std::size_t count) {
    on_host_.push_back(device_.allocate_host(count));
    return on_host_.back();
  }
  Tensor zeros(DType dtype, Shape shape) {
    Tensor tensor{{dtype, std::move(shape)}, nullptr};
    tensor.data = bytes(tensor.type.bytes());
    return tensor;
  }

  /// Numbers of either sign about 1: zeros draw less power than what a model has, and so are
  /// multiplied faster.
  Tensor numbers(DType dtype, Shape shape) {
    const Tensor tensor = zeros(dtype, std::move(shape));
    fill(static_cast<std::byte*>(tensor.data), tensor.type.bytes(), is_fp8(dtype));
    return tensor;
  }

 private:
  // Two bytes that are a number between 1/2 and 2 as bf16 and as the upper half of fp32, or each a
  // small one as either fp8.
  void fill(std::byte* to, std::size_t bytes, bool fp8) {
    std::vector<std::uint16_t> some(std::min(bytes / 2 + 1, std::size_t{1} << 17));
    const CounterRng rng(1, 2, 3);
    for (std::size_t i = 0; i < some.size(); ++i) {
      const auto word = rng.word(static_cast<std::int64_t>(i));
      some[i] =
          static_cast<std::uint16_t>(fp8 ? 0x3030 | (word & 0x8f8f) : 0x3f00 | (word & 0x80ff));
    }
    std::size_t filled = std::min(bytes, some.size() * sizeof(some[0]));
    copy(to, some.data(), filled, stream_);
    for (; filled < bytes; filled *= 2) {
      copy(to + filled, to, std::min(filled, bytes - filled), stream_);
    }
    device_.synchronize(stream_);
  }

  Device& device_;
  Stream stream_;
  std::vector<void*> on_device_, on_host_;
};

/// A kernel and the tensors that it runs on; nullopt stands for an absent operand.
class Subject {
 public:
  Subject(Device& device, Memory& memory, Prepared (*prepare)(const KernelRequest&),
          const Attributes& attributes, const std::vector<std::optional<Tensor>>& operands,
          const std::vector<Tensor>& results) {
    std::vector<std::optional<TensorType>> operand_types;
    std::vector<TensorType> result_types;
    for (const auto& operand : operands) {
      operand_types.push_back(operand ? std::optional(operand->type) : std::nullopt);
      operands_.push_back(operand ? operand->data : nullptr);
    }
    for (const Tensor& result : results) {
      result_types.push_back(result.type);
      results_.push_back(result.data);
    }
    Machine machine = Machine::detect();
    machine.device = Backend::cuda;
    machine.compute_capability = device.properties().compute_capability;
    Prepared prepared = prepare({operand_types, result_types, attributes, machine});
    if (const auto* declined = std::get_if<Declined>(&prepared)) {
      fail("a kernel to be measured declines: {}", declined->reason);
    }
    kernel_ = std::move(std::get<std::unique_ptr<const Kernel>>(prepared));
    scratch_ = memory.bytes(kernel_->scratch_bytes());
    kernel_->load();
  }

  void run(Stream stream) const { kernel_->run({operands_, results_, scratch_, stream}); }

 private:
  std::unique_ptr<const Kernel> kernel_;
  std::vector<const void*> operands_;
  std::vector<void*> results_;
  void* scratch_ = nullptr;
};

class Calibration {
 public:
  Calibration(Device& device, const CalibrationSizes& sizes)
      : device_(device), sizes_(sizes), timer_(device, sizes) {}

  ProductRates product_rates(DType dtype, std::int64_t square) {
    return {peak(dtype, square), layer(dtype, {}), attention_rate(dtype)};
  }
  double tf32_layer() { return layer(DType::fp32, {{"tf32", true}}); }

  // Both operands are stored with the sum's dimension last: weight and gradient are transposed as
  // they are quantized.
  ProductRates fp8_rates(std::int64_t square) {
    const std::int64_t rows = sizes_.rows, hidden = sizes_.hidden, wide = 4 * hidden;
    constexpr DType kForward = DType::fp8_e4m3, kBackward = DType::fp8_e5m2;
    ProductRates rates;
    rates.peak = fp8_flops(square, square, square) /
                 fp8_seconds(kForward, DType::bf16, square, square, square);
    rates.layer = 3 * fp8_flops(rows, wide, hidden) /
                  (fp8_seconds(kForward, DType::bf16, rows, wide, hidden) +
                   fp8_seconds(kBackward, DType::bf16, rows, hidden, wide) +
                   fp8_seconds(kBackward, DType::fp32, wide, hidden, rows));
    return rates;
  }

  double softmax_rate() {
    Memory memory = tensors();
    const std::int64_t rows = sizes_.logit_rows, vocabulary = sizes_.vocabulary;
    const Tensor logits = memory.numbers(DType::fp32, {rows, vocabulary});
    const Tensor targets = memory.zeros(DType::int32, {rows});
    const Subject subject(device_, memory, cross_entropy_rows_train, {},
                          {logits, targets, memory.numbers(DType::fp32, {})},
                          {memory.zeros(DType::fp64, {}), logits});
    return static_cast<double>(rows * vocabulary) / median(subject);
  }

  double copy_bandwidth() {
    Memory memory = tensors();
    const std::size_t bytes = sizes_.copied_bytes;
    void *from = memory.bytes(bytes), *to = memory.bytes(bytes);
    const double seconds = timer_.fastest([&] { copy(to, from, bytes, timer_.stream()); });
    return 2.0 * static_cast<double>(bytes) / seconds;
  }

  void measure_link(DeviceRates& rates) {
    Memory memory = tensors();
    const std::size_t bytes = sizes_.link_bytes;
    void *device_in = memory.bytes(bytes), *device_out = memory.bytes(bytes);
    void *host_in = memory.host_bytes(bytes), *host_out = memory.host_bytes(bytes);
    const Stream stream = timer_.stream(), other = device_.new_stream();
    const Event begun = device_.new_event(), done = device_.new_event();
    const auto rate = [&](const auto& run) {
      return static_cast<double>(bytes) / timer_.median(run);
    };
    rates.to_device_bandwidth = rate([&] { copy(device_in, host_out, bytes, stream); });
    rates.from_device_bandwidth = rate([&] { copy(host_in, device_out, bytes, stream); });
    rates.both_ways_bandwidth = rate([&] {
      device_.record(begun, stream);
      device_.wait(other, begun);
      copy(host_in, device_out, bytes, other);
      device_.record(done, other);
      copy(device_in, host_out, bytes, stream);
      device_.wait(stream, done);
    });
  }

  double launch_seconds() {
    Memory memory = tensors();
    const Tensor step = memory.zeros(DType::int64, {});
    const Subject subject(device_, memory, count_step, {}, {step, memory.numbers(DType::fp32, {})},
                          {step});
    device_.begin_capture(timer_.stream());
    for (int i = 0; i < sizes_.graph_instructions; ++i) subject.run(timer_.stream());
    const Graph graph = device_.end_capture(timer_.stream());
    const double seconds = timer_.median([&] { device_.launch(graph, timer_.stream()); });
    return seconds / sizes_.graph_instructions;
  }

 private:
  Memory tensors() { return Memory(device_, timer_.stream()); }

  double median(const Subject& subject) {
    return timer_.median([&] { subject.run(timer_.stream()); });
  }

  double peak(DType dtype, std::int64_t n) {
    Memory memory = tensors();
    const Subject product(device_, memory, matmul, {{"transpose_b", true}},
                          {memory.numbers(dtype, {n, n}), memory.numbers(dtype, {n, n})},
                          {memory.zeros(dtype, {n, n})});
    const double seconds = timer_.fastest([&] { product.run(timer_.stream()); });
    return 2 * std::pow(static_cast<double>(n), 3) / seconds;
  }

  static double fp8_flops(std::int64_t m, std::int64_t n, std::int64_t k) {
    return 2 * static_cast<double>(m * n * k);
  }
  double fp8_seconds(DType a, DType result, std::int64_t m, std::int64_t n, std::int64_t k) {
    Memory memory = tensors();
    const Tensor scale = memory.numbers(DType::fp32, {}), y = memory.zeros(result, {m, n});
    const std::optional<Tensor> addend = result == DType::fp32 ? std::optional(y) : std::nullopt;
    constexpr int kOldestWithFp8 = 89;  // older ones multiply what it stands for, in bf16
    const bool has_fp8 = device_.properties().compute_capability >= kOldestWithFp8;
    const Subject product(device_, memory, has_fp8 ? scaled_matmul : scaled_matmul_dequantized,
                          {{"block_a", std::string("tensor")},
                           {"block_b", std::string("tensor")},
                           {"dtype", std::string(name_of(result))}},
                          {memory.numbers(a, {m, k}), scale,
                           memory.numbers(DType::fp8_e4m3, {n, k}), scale, std::nullopt, addend},
                          {y});
    return median(product);
  }

  // y = x·Wᵀ, dx = dy·W, dW = dyᵀ·x + dW.
  double layer(DType dtype, const Attributes& how) {
    const std::int64_t rows = sizes_.rows, hidden = sizes_.hidden, wide = 4 * hidden;
    Memory memory = tensors();
    const Tensor x = memory.numbers(dtype, {rows, hidden}), y = memory.numbers(dtype, {rows, wide});
    const Tensor weight = memory.numbers(dtype, {wide, hidden});
    const Tensor gradient = memory.numbers(DType::fp32, {wide, hidden});
    double seconds = 0;
    const auto add = [&](Attributes attributes, const std::vector<std::optional<Tensor>>& operands,
                         const Tensor& result) {
      for (const auto& [name, value] : how.items()) attributes.set(name, value);
      const Subject product(device_, memory, matmul, attributes, operands, {result});
      seconds += median(product);
    };
    add({{"transpose_b", true}}, {x, weight}, y);
    add({}, {y, weight}, x);
    add({{"transpose_a", true}, {"dtype", std::string("fp32")}}, {y, x, std::nullopt, gradient},
        gradient);
    return 3 * 2 * static_cast<double>(rows * hidden * wide) / seconds;
  }

  double attention_rate(DType dtype) {
    const std::int64_t batch = sizes_.batch, tokens = sizes_.tokens, heads = sizes_.heads;
    const Shape shape{batch, tokens, heads, sizes_.head_size};
    const Attributes causal{{"scale", 1 / std::sqrt(static_cast<double>(sizes_.head_size))},
                            {"causal", true}};
    Memory memory = tensors();
    const Tensor q = memory.numbers(dtype, shape), k = memory.numbers(dtype, shape),
                 v = memory.numbers(dtype, shape), o = memory.zeros(dtype, shape),
                 lse = memory.zeros(DType::fp32, {batch, heads, tokens});
    const Subject forward(device_, memory, attention, causal, {q, k, v}, {o, lse});
    const Subject backward(
        device_, memory, attention_grad, causal, {o, q, k, v, o, lse},
        {memory.zeros(dtype, shape), memory.zeros(dtype, shape), memory.zeros(dtype, shape)});
    const double seconds = median(forward) + median(backward);
    const auto pairs = static_cast<double>(batch * heads * tokens * (tokens + 1) / 2);
    constexpr int kProducts = 7;  // two forward, five backward
    return 2 * kProducts * static_cast<double>(sizes_.head_size) * pairs / seconds;
  }

  Device& device_;
  const CalibrationSizes& sizes_;
  Timer timer_;
};

}  // namespace

DeviceRates measure_rates(Device& device, const CalibrationSizes& sizes) {
  Calibration calibration(device, sizes);
  DeviceRates rates;
  rates.fp32 = calibration.product_rates(DType::fp32, sizes.square_fp32);
  rates.bf16 = calibration.product_rates(DType::bf16, sizes.square_bf16);
  rates.fp8 = calibration.fp8_rates(sizes.square_bf16);
  rates.tf32_layer = calibration.tf32_layer();
  rates.softmax_rate = calibration.softmax_rate();
  rates.copy_bandwidth = calibration.copy_bandwidth();
  calibration.measure_link(rates);
  rates.launch_seconds = calibration.launch_seconds();
  return rates;
}

}  // namespace bessemer::kernels::cuda
