#include "kernels/cuda/driver/product_trial.h"

#include <algorithm>
#include <limits>

#include "base/arena.h"
#include "base/rng.h"
#include "kernels/cuda/driver/check.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr double kSecondsOfRound = 2e-3;
constexpr int kRounds = 3;
constexpr int kMostRuns = 50;

/// Consecutive parts of one allocation, each as aligned as an arena's tensors are and no better.
class Parts {
 public:
  explicit Parts(void* memory = nullptr) : memory_(reinterpret_cast<std::uintptr_t>(memory)) {}

  void* take(std::int64_t elements, DType dtype) {
    const std::size_t begin = bytes_ + Arena::kAlignment;
    bytes_ = align_up(begin + static_cast<std::size_t>(elements) * size_of(dtype), 256);
    return reinterpret_cast<void*>(memory_ + begin);
  }
  void* take_aligned(std::size_t bytes) {
    const std::size_t begin = bytes_;
    bytes_ = align_up(begin + bytes, 256);
    return reinterpret_cast<void*>(memory_ + begin);
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::uintptr_t memory_;
  std::size_t bytes_ = 0;
};

std::int64_t elements_of_a(const ProductSpec& spec) {
  return spec.batch * (spec.transpose_a ? spec.k : spec.m) * spec.a_stride();
}

ProductBuffers lay_out(const ProductSpec& spec, std::size_t workspace, Parts& parts) {
  ProductBuffers buffers;
  buffers.a = parts.take(elements_of_a(spec), spec.a);
  buffers.b = parts.take(spec.batch * spec.k * spec.n, spec.b);
  if (spec.is_fp8()) {
    const auto scales = [&](Fp8Block block, std::int64_t rows) {
      const Shape shape = fp8_scale_shape(block, {rows, spec.k});
      return static_cast<const float*>(parts.take(elements_of(shape), DType::fp32));
    };
    buffers.scale_a = scales(spec.block_a, spec.m);
    buffers.scale_b = scales(spec.block_b, spec.n);
  }
  if (spec.bias) buffers.bias = parts.take(spec.n, spec.bias_dtype());
  buffers.result = parts.take(spec.batch * spec.m * spec.result_stride(), spec.result);
  if (spec.addend) buffers.addend = buffers.result;
  if (spec.activation == ProductSpec::Activation::gelu_tanh_grad) {
    buffers.x = parts.take(spec.batch * spec.m * spec.n, spec.result);
  }
  if (spec.row_sums) buffers.row_sums = static_cast<float*>(parts.take(spec.m, DType::fp32));
  buffers.scratch = parts.take_aligned(workspace);
  return buffers;
}

/// Numbers of either sign between 1/2 and 2, as bf16 and as fp32, or in the fp8 formats: a device
/// multiplies zeros faster than what a model has, because they draw less power.
void fill(void* memory, std::size_t bytes, bool fp8) {
  std::vector<std::uint16_t> numbers(std::size_t{1} << 19);
  const CounterRng rng(1, 2, 3);
  const unsigned fixed = fp8 ? 0x3838 : 0x3f00, random = fp8 ? 0x8787 : 0x80ff;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto word = rng.word(static_cast<std::int64_t>(i));
    numbers[i] = static_cast<std::uint16_t>(fixed | (word & random));
  }
  auto* to = static_cast<std::byte*>(memory);
  std::size_t filled = std::min(bytes, numbers.size() * sizeof(numbers[0]));
  check(cudaMemcpy(to, numbers.data(), filled, cudaMemcpyHostToDevice), "filling operands");
  for (; filled < bytes; filled *= 2) {
    check(cudaMemcpy(to + filled, to, std::min(filled, bytes - filled), cudaMemcpyDeviceToDevice),
          "filling operands");
  }
}

}  // namespace

std::unique_ptr<const ProductTrial> ProductTrial::make(const ProductSpec& spec,
                                                       std::size_t workspace_bytes) {
  Parts sizes;
  lay_out(spec, workspace_bytes, sizes);
  void* memory = nullptr;
  if (cudaMalloc(&memory, sizes.bytes()) != cudaSuccess) {
    cudaGetLastError();  // nobody else shall find it
    return nullptr;
  }
  Parts parts(memory);
  const ProductBuffers buffers = lay_out(spec, workspace_bytes, parts);
  const std::size_t a_bytes = static_cast<std::size_t>(elements_of_a(spec)) * size_of(spec.a);
  std::unique_ptr<const ProductTrial> trial(
      new ProductTrial(memory, buffers, a_bytes, workspace_bytes));
  fill(memory, sizes.bytes(), spec.is_fp8());
  return trial;
}

ProductTrial::ProductTrial(void* memory, const ProductBuffers& buffers, std::size_t a_bytes,
                           std::size_t workspace_bytes)
    : memory_(memory), buffers_(buffers), a_bytes_(a_bytes), workspace_(workspace_bytes) {
  check(cudaEventCreate(&begin_), "an event");
  check(cudaEventCreate(&end_), "an event");
}

ProductTrial::~ProductTrial() {
  cudaEventDestroy(begin_);
  cudaEventDestroy(end_);
  cudaFree(memory_);
}

double ProductTrial::seconds(const CublasCall& call, const cublasLtMatmulAlgo_t& algorithm) const {
  if (call.queue(buffers_, algorithm, workspace_, nullptr) != CUBLAS_STATUS_SUCCESS) {
    return std::numeric_limits<double>::infinity();
  }
  return best_seconds(
      [&] { check(call.queue(buffers_, algorithm, workspace_, nullptr), "a matrix product"); });
}

double ProductTrial::seconds_of_a() const {
  auto* a = static_cast<std::byte*>(const_cast<void*>(buffers_.a));
  const std::size_t half = a_bytes_ / 2;
  return best_seconds([&] {
    check(cudaMemcpyAsync(a, a + half, half, cudaMemcpyDeviceToDevice, nullptr), "a copy");
  });
}

void ProductTrial::run(const CublasCall& call, const cublasLtMatmulAlgo_t& algorithm) const {
  const auto queue = [&] {
    check(call.queue(buffers_, algorithm, workspace_, nullptr), "a matrix product");
  };
  seconds_of(queue, 1);
}

/// Of one call of `queue`.
template <typename Queue>
double ProductTrial::best_seconds(const Queue& queue) const {
  double best = seconds_of(queue, 1);
  const int runs = static_cast<int>(std::clamp(kSecondsOfRound / best, 1.0, double{kMostRuns}));
  for (int round = 0; round < kRounds; ++round) best = std::min(best, seconds_of(queue, runs));
  return best;
}

template <typename Queue>
double ProductTrial::seconds_of(const Queue& queue, int runs) const {
  check(cudaEventRecord(begin_, nullptr), "an event");
  for (int i = 0; i < runs; ++i) queue();
  check(cudaEventRecord(end_, nullptr), "an event");
  check(cudaEventSynchronize(end_), "what is timed");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, begin_, end_), "the time between events");
  return std::max(1e-9, 1e-3 * milliseconds / runs);
}

}  // namespace bessemer::kernels::cuda
