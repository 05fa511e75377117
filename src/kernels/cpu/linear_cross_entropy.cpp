// The output projection and the cross-entropy in one, a chunk of rows at a time: the logits of a
// chunk live in scratch, so that the whole [N, V] never exists.
//
// The default chunk is the largest even cut of the rows whose fp32 logits take 64 MiB: smaller
// ones read w and update dw more often, and these are as large as the logits themselves.
//
// The chunk does not show in the bits: a row's logits and gradient are its own, and dw is one sum
// over all rows that goes on from chunk to chunk (gemm.h). Where oneDNN multiplies, which promises
// neither, the chunk is always the default one.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/arena.h"
#include "base/parallel.h"
#include "base/rounding.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/divisible.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/softmax_rows.h"
#include "kernels/head_call.h"

namespace bessemer::kernels::cpu {
namespace {

constexpr std::int64_t kLogitBytes = std::int64_t{64} << 20;

struct Dimensions {
  std::int64_t rows = 0, hidden = 0, vocabulary = 0, chunk = 0;
  DType x = DType::fp32, w = DType::fp32;
  bool addend = false;
  bool backward = false;
  DType gradient = DType::fp32;  // of the logits
};

std::int64_t default_chunk(std::int64_t rows, std::int64_t vocabulary) {
  const std::int64_t most = std::max<std::int64_t>(1, kLogitBytes / 4 / vocabulary);
  const std::int64_t chunks = divide_up(rows, most);
  return divide_up(rows, chunks);
}

/// The products of one chunk of rows. The gradient of the logits stays fp32 where the own product
/// takes it, and is rounded to bf16 where the machine multiplies bf16 itself.
struct ChunkProducts {
  std::unique_ptr<const Product> logits, dx, dw_first, dw_next;

  bool complete(bool backward) const {
    return logits && (!backward || (dx && dw_first && dw_next));
  }

  std::size_t scratch_bytes() const {
    std::size_t most = 0;
    for (const auto* product : {&logits, &dx, &dw_first, &dw_next}) {
      if (*product) most = std::max(most, (*product)->scratch_bytes());
    }
    return most;
  }
};

ChunkProducts make_products(const Dimensions& d, std::int64_t rows, decltype(make_product)& make,
                            const Machine& machine) {
  ProductSpec logits;
  logits.m = rows, logits.n = d.vocabulary, logits.k = d.hidden;
  logits.a = d.x, logits.b = d.w, logits.transpose_b = true;
  ChunkProducts products;
  products.logits = make(logits, machine);
  if (!d.backward) return products;

  ProductSpec dx;
  dx.m = rows, dx.n = d.hidden, dx.k = d.vocabulary;
  dx.a = d.gradient, dx.b = d.w, dx.result = d.x;
  products.dx = make(dx, machine);

  ProductSpec dw;
  dw.m = d.vocabulary, dw.n = d.hidden, dw.k = rows;
  dw.a = d.gradient, dw.b = d.x, dw.transpose_a = true, dw.addend = d.addend;
  products.dw_first = make(dw, machine);
  dw.addend = true;
  products.dw_next = make(dw, machine);
  return products;
}

HeadChunk chunk_of(const Dimensions& d, const Machine& machine) {
  const bool divisible =
      make_products(d, d.chunk, make_divisible_product, machine).complete(d.backward);
  return {divisible ? d.chunk : default_chunk(d.rows, d.vocabulary), divisible};
}

class LinearCrossEntropy final : public Kernel {
 public:
  LinearCrossEntropy(HeadMode mode, const Dimensions& d, const Machine& machine)
      : mode_(mode), d_(d) {
    const HeadChunk chunk = chunk_of(d, machine);
    d_.chunk = chunk.rows;
    auto& make = chunk.divisible ? make_divisible_product : make_product;
    whole_ = make_products(d_, d_.chunk, make, machine);
    if (const std::int64_t left = d_.rows % d_.chunk) {
      rest_ = make_products(d_, left, make, machine);
    }
    const auto logits = static_cast<std::size_t>(d_.chunk * d_.vocabulary);
    logit_bytes_ = align_up(logits * sizeof(float));
    const bool rounded = d_.backward && d_.gradient == DType::bf16;
    rounded_bytes_ = rounded ? align_up(logits * sizeof(BFloat16)) : 0;
    loss_bytes_ = align_up(static_cast<std::size_t>(d_.rows) * sizeof(double));
  }

  std::size_t scratch_bytes() const override {
    return logit_bytes_ + rounded_bytes_ + loss_bytes_ +
           std::max(whole_.scratch_bytes(), rest_.scratch_bytes());
  }

  void run(const KernelBuffers& buffers) const override {
    const HeadCall call = bind_head(mode_, buffers);
    auto* scratch = static_cast<std::byte*>(buffers.scratch);
    for (std::int64_t row = 0; row < d_.rows; row += d_.chunk) run_chunk(call, row, scratch);
    if (!call.loss) return;
    double loss = 0;
    for (std::int64_t row = 0; row < d_.rows; ++row) loss += row_losses(scratch)[row];
    *call.loss = static_cast<float>(loss);
  }

 private:
  float* logits(std::byte* scratch) const { return reinterpret_cast<float*>(scratch); }
  /// The gradient of the logits: in their place, or rounded beside them.
  std::byte* gradient(std::byte* scratch) const {
    return rounded_bytes_ > 0 ? scratch + logit_bytes_ : scratch;
  }
  double* row_losses(std::byte* scratch) const {
    return reinterpret_cast<double*>(scratch + logit_bytes_ + rounded_bytes_);
  }

  void run_chunk(const HeadCall& call, std::int64_t first, std::byte* scratch) const {
    const std::int64_t rows = std::min(d_.chunk, d_.rows - first);
    const ChunkProducts& products = rows == d_.chunk ? whole_ : rest_;
    std::byte* workspace = scratch + logit_bytes_ + rounded_bytes_ + loss_bytes_;
    const std::int64_t offset = first * d_.hidden * static_cast<std::int64_t>(size_of(d_.x));
    const std::byte* x = call.x + offset;

    products.logits->run({x, call.w, nullptr, nullptr, logits(scratch), workspace});
    parallel_for(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) finish_row(call, first, row, scratch);
    });
    if (mode_ == HeadMode::forward) return;
    products.dx->run({gradient(scratch), call.w, nullptr, nullptr, call.dx + offset, workspace});
    const auto& dw = first == 0 ? products.dw_first : products.dw_next;
    const void* sum = first == 0 ? call.addend : call.dw;
    dw->run({gradient(scratch), x, nullptr, sum, call.dw, workspace});
  }

  void finish_row(const HeadCall& call, std::int64_t first, std::int64_t row,
                  std::byte* scratch) const {
    const std::int64_t v = d_.vocabulary;
    float* row_logits = logits(scratch) + row * v;
    const std::int64_t target = call.targets[first + row];
    const bool counts = target >= 0 && target < v;
    const float lse = call.given_lse ? call.given_lse[first + row] : log_sum_exp(row_logits, v);
    if (call.lse) call.lse[first + row] = lse;
    row_losses(scratch)[first + row] =
        counts ? static_cast<double>(lse) - static_cast<double>(row_logits[target]) : 0.0;
    if (mode_ == HeadMode::forward) return;
    std::byte* out = gradient(scratch) + row * v * static_cast<std::int64_t>(size_of(d_.gradient));
    if (!counts) {
      std::memset(out, 0, static_cast<std::size_t>(v) * size_of(d_.gradient));
    } else if (d_.gradient == DType::bf16) {
      softmax_gradient(row_logits, v, lse, *call.dloss, target, reinterpret_cast<BFloat16*>(out));
    } else {
      softmax_gradient(row_logits, v, lse, *call.dloss, target, reinterpret_cast<float*>(out));
    }
  }

  HeadMode mode_;
  Dimensions d_;
  ChunkProducts whole_, rest_;
  std::size_t logit_bytes_ = 0, rounded_bytes_ = 0, loss_bytes_ = 0;
};

Dimensions dimensions_of(const KernelRequest& request, HeadMode mode) {
  const std::size_t first = mode == HeadMode::forward ? 0 : 1;
  const TensorType& x = request.operand(first);
  const TensorType& w = request.operand(first + 1);
  Dimensions d;
  d.x = x.dtype, d.w = w.dtype;
  d.vocabulary = w.dim(0), d.hidden = w.dim(1);
  d.rows = request.operand(first + 2).elements();
  d.backward = mode != HeadMode::forward;
  const bool native_bf16 = request.machine.avx512_bf16 && d.x == DType::bf16 && d.w == DType::bf16;
  d.gradient = native_bf16 ? DType::bf16 : DType::fp32;
  d.addend = (mode == HeadMode::gradient && request.has_operand(5)) ||
             (mode == HeadMode::train && request.has_operand(4));
  const std::int64_t chunk = request.attributes.integer("chunk", 0);
  d.chunk = chunk > 0 ? std::min(chunk, d.rows) : default_chunk(d.rows, d.vocabulary);
  return d;
}

Prepared prepare(const KernelRequest& request, HeadMode mode) {
  const std::size_t first = mode == HeadMode::forward ? 0 : 1;
  for (const DType dtype : {request.operand(first).dtype, request.operand(first + 1).dtype}) {
    if (dtype != DType::fp32 && dtype != DType::bf16) {
      return Declined{fmt::format("{}: only fp32 and bf16", name_of(dtype))};
    }
  }
  const std::int64_t rows = request.operand(first + 2).elements();
  if (rows * request.operand(first + 1).elements() == 0) return Declined{"no elements"};
  const Dimensions d = dimensions_of(request, mode);
  return std::unique_ptr<const Kernel>(
      std::make_unique<const LinearCrossEntropy>(mode, d, request.machine));
}

}  // namespace

HeadChunk head_chunk(const KernelRequest& request) {
  const HeadMode mode = request.operand(0).rank() == 0 ? HeadMode::train : HeadMode::forward;
  return chunk_of(dimensions_of(request, mode), request.machine);
}

Prepared linear_cross_entropy(const KernelRequest& request) {
  return prepare(request, HeadMode::forward);
}

Prepared linear_cross_entropy_grad(const KernelRequest& request) {
  return prepare(request, HeadMode::gradient);
}

Prepared linear_cross_entropy_train(const KernelRequest& request) {
  return prepare(request, HeadMode::train);
}

}  // namespace bessemer::kernels::cpu
