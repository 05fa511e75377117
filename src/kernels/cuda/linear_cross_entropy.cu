// The output projection and the cross-entropy in one, a chunk of rows at a time, so that the whole
// [N, V] of logits never exists. Three products of 2NVH flops (forward: one); between them a pass
// that reads each fp32 logit twice and writes its gradient once: 10 bytes a logit with bf16, of
// which the second read mostly hits the L2 cache, because a row is walked back the way it came.
//
// A chunk is the largest even cut of the rows whose fp32 logits take 1 GiB, but of 2048 rows or
// more: the product that adds to dw reads and writes 8 bytes of it for each 2 flops a row, which
// with 2048 rows, on a device of 200 flops a byte, is 0.4 of the time of its flops. The sum in dw
// depends on the chunk, so the attribute `chunk` plays no part.
//
// The gradient of the logits is rounded to the dtype of x and replaces the logits: row by row, in
// the second half of what the row took. Rows of logits are padded to 256 bytes; a vocabulary of odd
// length would leave the products without aligned rows.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/floats.cuh"
#include "kernels/cuda/linear_cross_entropy.h"
#include "kernels/cuda/product.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/arena.h"
#include "base/rounding.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kMostThreads = 1024;
constexpr std::int64_t kLogitBytes = std::int64_t{1} << 30;
constexpr std::int64_t kFewestRows = 2048;
constexpr std::int64_t kRowAlignment = 64;  // elements

/// Rows of logits and what is made of them; null where it is not there or not wanted.
struct Rows {
  const float* logits = nullptr;
  std::int64_t stride = 0;  // elements from one row to the next
  int vocabulary = 0;
  const std::int32_t* targets = nullptr;
  const float* given_lse = nullptr;
  float* lse = nullptr;
  double* losses = nullptr;
  const float* dloss = nullptr;
  void* gradient = nullptr;
  std::int64_t gradient_stride = 0;
};

/// The eight elements of a row that a thread has in one round of its block: neighbours where rows
/// are aligned, else a block's width apart.
template <bool kAligned>
struct Share {
  int first, step, end;

  __device__ Share(int round, int row_length)
      : first(round * static_cast<int>(blockDim.x) * kWide +
              static_cast<int>(threadIdx.x) * (kAligned ? kWide : 1)),
        step(kAligned ? 1 : static_cast<int>(blockDim.x)),
        end(row_length) {}

  __device__ int at(int i) const { return first + i * step; }
  __device__ Wide load(const float* row) const {
    if constexpr (kAligned) {
      return load_wide(row + first, end - first, -INFINITY);
    } else {
      Wide x;
      for (int i = 0; i < kWide; ++i) x.at[i] = at(i) < end ? row[at(i)] : -INFINITY;
      return x;
    }
  }
  template <typename T>
  __device__ void store(T* row, const Wide& x) const {
    if constexpr (kAligned) {
      store_wide(row + first, x, end - first);
    } else {
      for (int i = 0; i < kWide; ++i) {
        if (at(i) < end) row[at(i)] = from_float<T>(x.at[i]);
      }
    }
  }
};

__device__ int rounds_of(int row_length) {
  return divide_up(row_length, static_cast<int>(blockDim.x) * kWide);
}

/// log of the sum of exp(row), in one pass: Milakov and Gimelshein, "Online normalizer calculation
/// for softmax", 2018. NaN where an element is NaN.
template <bool kAligned>
__device__ float log_sum_exp(const float* row, int length) {
  constexpr float kLowest = std::numeric_limits<float>::lowest();
  float largest = kLowest, sum = 0;
  for (int round = 0; round < rounds_of(length); ++round) {
    const Wide x = Share<kAligned>(round, length).load(row);
    float top = x.at[0];
    for (const float value : x.at) top = value > top ? value : top;
    if (top > largest) {
      sum *= std::exp(largest - top);
      largest = top;
    }
    for (const float value : x.at) sum += std::exp(value - largest);
  }
  const float whole = block_max(largest, kLowest);
  return whole + std::log(block_sum(sum * std::exp(largest - whole)));
}

/// gradient = scale * (exp(row - lse) - one-hot of target), from the end of the row to its
/// beginning. Where the gradient is half as wide it may lie in the second half of the row: what a
/// round writes there was read by this round or an earlier one.
template <bool kAligned, typename Gradient>
__device__ void softmax_gradient(const float* row, int length, float lse, float scale, int target,
                                 Gradient* gradient) {
  for (int round = rounds_of(length) - 1; round >= 0; --round) {
    const Share<kAligned> share(round, length);
    Wide x = share.load(row);
    for (int i = 0; i < kWide; ++i) {
      x.at[i] = scale * (std::exp(x.at[i] - lse) - (share.at(i) == target ? 1.0f : 0.0f));
    }
    if constexpr (sizeof(Gradient) != sizeof(float)) sync_block();  // all have read
    share.store(gradient, x);
  }
}

template <bool kAligned, typename Gradient>
__device__ void clear(Gradient* gradient, int length) {
  for (int round = 0; round < rounds_of(length); ++round) {
    Share<kAligned>(round, length).store(gradient, Wide{});
  }
}

/// One block for each row. A target outside the vocabulary leaves its row out of loss and gradient.
template <bool kAligned, typename Gradient>
__global__ void __launch_bounds__(kMostThreads) finish_rows(Rows rows) {
  const std::int64_t r = blockIdx.x;
  const float* row = rows.logits + r * rows.stride;
  auto* gradient = static_cast<Gradient*>(rows.gradient);
  if (gradient != nullptr) gradient += r * rows.gradient_stride;
  const int target = rows.targets[r];
  const bool counts = target >= 0 && target < rows.vocabulary;
  if (!counts && rows.lse == nullptr) {
    clear<kAligned>(gradient, rows.vocabulary);
    if (rows.losses != nullptr && threadIdx.x == 0) rows.losses[r] = 0;
    return;
  }
  const float logit = counts ? row[target] : 0;  // read before the gradient takes its place
  const float lse =
      rows.given_lse != nullptr ? rows.given_lse[r] : log_sum_exp<kAligned>(row, rows.vocabulary);
  if (threadIdx.x == 0) {
    if (rows.lse != nullptr) rows.lse[r] = lse;
    if (rows.losses != nullptr) {
      rows.losses[r] = counts ? static_cast<double>(lse) - static_cast<double>(logit) : 0.0;
    }
  }
  if (gradient == nullptr) return;
  softmax_gradient<kAligned>(row, rows.vocabulary, lse, *rows.dloss, target, gradient);
}

/// One block. loss = before + the losses, in an order that depends on their number only.
template <typename T>
__global__ void __launch_bounds__(kMostThreads)
    sum_losses(const double* losses, std::int64_t rows, const double* before, T* loss) {
  double sum = 0;
  for (std::int64_t r = threadIdx.x; r < rows; r += blockDim.x) sum += losses[r];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *loss = static_cast<T>((before != nullptr ? *before : 0.0) + sum);
}

int threads_for(std::int64_t elements, std::int64_t of_thread) {
  const std::int64_t wanted = round_up(divide_up(elements, of_thread), std::int64_t{kWarp});
  return static_cast<int>(std::clamp<std::int64_t>(wanted, kWarp, kMostThreads));
}

void queue_rows(const Rows& rows, std::int64_t count, DType gradient, Stream stream) {
  const Grid grid{count, 1, 1, threads_for(rows.vocabulary, kWide)};
  const bool aligned = rows.stride % kWide == 0 && rows.gradient_stride % kWide == 0;
  if (gradient == DType::bf16) {
    launch(finish_rows<true, BFloat16>, grid, stream, rows);
  } else if (aligned) {
    launch(finish_rows<true, float>, grid, stream, rows);
  } else {
    launch(finish_rows<false, float>, grid, stream, rows);
  }
}

template <typename T>
void queue_sum(const double* losses, std::int64_t rows, const double* before, T* loss,
               Stream stream) {
  launch(sum_losses<T>, Grid{1, 1, 1, threads_for(rows, 1)}, stream, losses, rows, before, loss);
}

std::size_t loss_bytes(std::int64_t rows) {
  return align_up(static_cast<std::size_t>(rows) * sizeof(double));
}

struct Dimensions {
  std::int64_t rows = 0, hidden = 0, vocabulary = 0;
  DType dtype = DType::fp32;  // of x, w and the gradient of the logits
  bool tf32 = false;
  bool addend = false;
  bool backward = false;

  std::int64_t logit_row() const { return round_up(vocabulary, kRowAlignment); }
  bool rounded() const { return backward && dtype == DType::bf16; }
  /// Of the gradient of the logits: where it begins within a row, and from one row to the next.
  std::int64_t gradient_offset() const { return rounded() ? logit_row() : 0; }
  std::int64_t gradient_row() const { return logit_row() * (rounded() ? 2 : 1); }
};

/// The products of one chunk of rows.
struct ChunkProducts {
  std::unique_ptr<const Product> logits, dx, dw_first, dw_next;

  ChunkProducts() = default;
  ChunkProducts(const Dimensions& d, std::int64_t rows) {
    ProductSpec operands;
    operands.a = operands.b = d.dtype, operands.tf32 = d.tf32;

    ProductSpec spec = operands;
    spec.m = rows, spec.n = d.vocabulary, spec.k = d.hidden;
    spec.result = DType::fp32;
    spec.transpose_b = true, spec.result_row = d.logit_row();
    logits = make_product(spec);
    if (!d.backward) return;

    spec = operands;
    spec.m = rows, spec.n = d.hidden, spec.k = d.vocabulary;
    spec.result = d.dtype;
    spec.a_row = d.gradient_row();
    dx = make_product(spec);

    spec = operands;
    spec.m = d.vocabulary, spec.n = d.hidden, spec.k = rows;
    spec.result = DType::fp32;
    spec.transpose_a = true, spec.a_row = d.gradient_row(), spec.addend = d.addend;
    dw_first = make_product(spec);
    spec.addend = true;
    dw_next = make_product(spec);
  }

  template <typename Visit>
  void each(const Visit& visit) const {
    for (const auto* product : {&logits, &dx, &dw_first, &dw_next}) {
      if (*product) visit(**product);
    }
  }
};

class LinearCrossEntropy final : public Kernel {
 public:
  LinearCrossEntropy(HeadMode mode, const Dimensions& d, std::int64_t chunk)
      : mode_(mode), d_(d), chunk_(std::min(chunk, d.rows)), whole_(d, chunk_) {
    if (const std::int64_t left = d.rows % chunk_) rest_ = ChunkProducts(d, left);
    logit_bytes_ = align_up(static_cast<std::size_t>(chunk_ * d.logit_row()) * sizeof(float));
    loss_bytes_ = loss_bytes(d.rows);
    const auto most = [this](const Product& product) {
      product_bytes_ = std::max(product_bytes_, product.scratch_bytes());
    };
    whole_.each(most);
    rest_.each(most);
  }

  std::size_t scratch_bytes() const override { return logit_bytes_ + loss_bytes_ + product_bytes_; }

  void load() const override {
    const auto load_one = [](const Product& product) { product.load(); };
    whole_.each(load_one);
    rest_.each(load_one);
  }

  void run(const KernelBuffers& buffers) const override {
    const HeadCall call = bind_head(mode_, buffers);
    auto* scratch = static_cast<std::byte*>(buffers.scratch);
    for (std::int64_t first = 0; first < d_.rows; first += chunk_) {
      run_chunk(call, first, scratch, buffers.stream);
    }
    if (call.loss) queue_sum(losses(scratch), d_.rows, nullptr, call.loss, buffers.stream);
  }

 private:
  double* losses(std::byte* scratch) const {
    return reinterpret_cast<double*>(scratch + logit_bytes_);
  }
  std::byte* gradient(std::byte* scratch) const {
    return scratch + static_cast<std::size_t>(d_.gradient_offset()) * size_of(d_.dtype);
  }

  void run_chunk(const HeadCall& call, std::int64_t first, std::byte* scratch,
                 Stream stream) const {
    const std::int64_t rows = std::min(chunk_, d_.rows - first);
    const ChunkProducts& products = rows == chunk_ ? whole_ : rest_;
    std::byte* workspace = scratch + logit_bytes_ + loss_bytes_;
    const std::int64_t offset = first * d_.hidden * static_cast<std::int64_t>(size_of(d_.dtype));
    const std::byte* x = call.x + offset;

    products.logits->run({x, call.w, nullptr, nullptr, scratch, workspace}, stream);
    finish(call, first, rows, scratch, stream);
    if (!d_.backward) return;
    products.dx->run({gradient(scratch), call.w, nullptr, nullptr, call.dx + offset, workspace},
                     stream);
    const auto& dw = first == 0 ? products.dw_first : products.dw_next;
    const void* sum = first == 0 ? call.addend : call.dw;
    dw->run({gradient(scratch), x, nullptr, sum, call.dw, workspace}, stream);
  }

  void finish(const HeadCall& call, std::int64_t first, std::int64_t count, std::byte* scratch,
              Stream stream) const {
    Rows rows;
    rows.logits = reinterpret_cast<float*>(scratch);
    rows.stride = d_.logit_row();
    rows.vocabulary = static_cast<int>(d_.vocabulary);
    rows.targets = call.targets + first;
    if (call.given_lse) rows.given_lse = call.given_lse + first;
    if (call.lse) rows.lse = call.lse + first;
    if (call.loss) rows.losses = losses(scratch) + first;
    rows.dloss = call.dloss;
    if (d_.backward) rows.gradient = gradient(scratch);
    rows.gradient_stride = d_.gradient_row();
    queue_rows(rows, count, d_.rounded() ? DType::bf16 : DType::fp32, stream);
  }

  HeadMode mode_;
  Dimensions d_;
  std::int64_t chunk_;
  ChunkProducts whole_, rest_;
  std::size_t logit_bytes_ = 0, loss_bytes_ = 0, product_bytes_ = 0;
};

Prepared in_own_chunks(const KernelRequest& request, HeadMode mode) {
  const TensorType& w = request.operand(mode == HeadMode::forward ? 1 : 2);
  const TensorType& x = request.operand(mode == HeadMode::forward ? 0 : 1);
  if (w.elements() * x.elements() == 0) return Declined{"no elements"};
  return head_in_chunks(request, mode, head_chunk(x.dim(0), w.dim(0)));
}

std::optional<Declined> decline_rows(const KernelRequest& request) {
  if (request.operand(0).dtype == DType::fp32 && request.operand(0).elements() > 0) return {};
  return Declined{fmt::format("{}: only fp32, and some", to_string(request.operand(0)))};
}

Rows rows_of(const KernelBuffers& buffers, std::int64_t vocabulary) {
  Rows rows;
  rows.logits = buffers.operand<float>(0);
  rows.stride = rows.gradient_stride = vocabulary;
  rows.vocabulary = static_cast<int>(vocabulary);
  rows.targets = buffers.operand<std::int32_t>(1);
  rows.losses = static_cast<double*>(buffers.scratch);
  return rows;
}

}  // namespace

std::int64_t head_chunk(std::int64_t rows, std::int64_t vocabulary) {
  constexpr std::int64_t kTile = 128;  // rows that a product takes at a time
  const std::int64_t most = std::max(kFewestRows, kLogitBytes / 4 / vocabulary);
  const std::int64_t chunks = divide_up(rows, most);
  return std::min(rows, round_up(divide_up(rows, chunks), kTile));
}

Prepared head_in_chunks(const KernelRequest& request, HeadMode mode, std::int64_t chunk) {
  const std::size_t first = mode == HeadMode::forward ? 0 : 1;
  const TensorType& x = request.operand(first);
  const TensorType& w = request.operand(first + 1);
  if (x.dtype != w.dtype || (x.dtype != DType::fp32 && x.dtype != DType::bf16)) {
    return Declined{fmt::format("x is {}, w {}; this kernel does fp32 and bf16, both alike",
                                name_of(x.dtype), name_of(w.dtype))};
  }
  Dimensions d;
  d.rows = x.dim(0), d.hidden = x.dim(1), d.vocabulary = w.dim(0);
  d.dtype = x.dtype;
  d.tf32 = x.dtype == DType::fp32 && request.attributes.boolean("tf32", false);
  d.backward = mode != HeadMode::forward;
  d.addend = (mode == HeadMode::gradient && request.has_operand(5)) ||
             (mode == HeadMode::train && request.has_operand(4));
  return std::unique_ptr<const Kernel>(std::make_unique<const LinearCrossEntropy>(mode, d, chunk));
}

Prepared linear_cross_entropy(const KernelRequest& request) {
  return in_own_chunks(request, HeadMode::forward);
}

Prepared linear_cross_entropy_grad(const KernelRequest& request) {
  return in_own_chunks(request, HeadMode::gradient);
}

Prepared linear_cross_entropy_train(const KernelRequest& request) {
  return in_own_chunks(request, HeadMode::train);
}

Prepared cross_entropy_rows(const KernelRequest& request) {
  if (auto declined = decline_rows(request)) return *declined;
  const std::int64_t count = request.operand(0).dim(0), v = request.operand(0).dim(1);
  return make_kernel(
      [count, v](const KernelBuffers& buffers) {
        Rows rows = rows_of(buffers, v);
        rows.lse = buffers.result<float>(1);
        queue_rows(rows, count, DType::fp32, buffers.stream);
        queue_sum(rows.losses, count, buffers.operand<double>(2), buffers.result<double>(0),
                  buffers.stream);
      },
      loss_bytes(count));
}

Prepared cross_entropy_rows_train(const KernelRequest& request) {
  if (auto declined = decline_rows(request)) return *declined;
  const std::int64_t count = request.operand(0).dim(0), v = request.operand(0).dim(1);
  return make_kernel(
      [count, v](const KernelBuffers& buffers) {
        Rows rows = rows_of(buffers, v);
        rows.dloss = buffers.operand<float>(2);
        rows.gradient = buffers.result<float>(1);
        queue_rows(rows, count, DType::fp32, buffers.stream);
        queue_sum(rows.losses, count, buffers.operand<double>(3), buffers.result<double>(0),
                  buffers.stream);
      },
      loss_bytes(count));
}

}  // namespace bessemer::kernels::cuda
