// Loss, and gradient of the logits, of a chunk of rows whose logits are there: row by row as
// linear_cross_entropy does it.
#include <cstring>

#include <fmt/format.h>

#include "base/arena.h"
#include "base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/softmax_rows.h"

namespace bessemer::kernels::cpu {
namespace {

std::optional<Declined> decline(const KernelRequest& request) {
  if (request.operand(0).dtype == DType::fp32 && request.operand(0).elements() > 0) return {};
  return Declined{fmt::format("{}: only fp32, and some", to_string(request.operand(0)))};
}

/// Calls `finish(row, target, counts)`, which returns the row's loss if it counts, for every row;
/// and sums in order of rows, going on from `before`.
template <typename Finish>
double sum_of_losses(std::int64_t rows, std::int64_t vocabulary, const std::int32_t* targets,
                     const double* before, void* scratch, const Finish& finish) {
  auto* losses = static_cast<double*>(scratch);
  parallel_for(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t target = targets[row];
      losses[row] = finish(row, target, target >= 0 && target < vocabulary);
    }
  });
  double loss = before ? *before : 0;
  for (std::int64_t row = 0; row < rows; ++row) loss += losses[row];
  return loss;
}

std::size_t loss_bytes(std::int64_t rows) {
  return align_up(static_cast<std::size_t>(rows) * sizeof(double));
}

double loss_of(float lse, float logit) {
  return static_cast<double>(lse) - static_cast<double>(logit);
}

}  // namespace

Prepared cross_entropy_rows(const KernelRequest& request) {
  if (auto declined = decline(request)) return *declined;
  const std::int64_t rows = request.operand(0).dim(0), v = request.operand(0).dim(1);
  return make_kernel(
      [rows, v](const KernelBuffers& buffers) {
        const auto* logits = buffers.operand<float>(0);
        auto* lse = buffers.result<float>(1);
        *buffers.result<double>(0) =
            sum_of_losses(rows, v, buffers.operand<std::int32_t>(1), buffers.operand<double>(2),
                          buffers.scratch, [&](std::int64_t row, std::int64_t target, bool counts) {
                            lse[row] = log_sum_exp(logits + row * v, v);
                            return counts ? loss_of(lse[row], logits[row * v + target]) : 0.0;
                          });
      },
      loss_bytes(rows));
}

Prepared cross_entropy_rows_train(const KernelRequest& request) {
  if (auto declined = decline(request)) return *declined;
  const std::int64_t rows = request.operand(0).dim(0), v = request.operand(0).dim(1);
  return make_kernel(
      [rows, v](const KernelBuffers& buffers) {
        const auto* logits = buffers.operand<float>(0);
        const float dloss = *buffers.operand<float>(2);
        auto* gradient = buffers.result<float>(1);
        *buffers.result<double>(0) =
            sum_of_losses(rows, v, buffers.operand<std::int32_t>(1), buffers.operand<double>(3),
                          buffers.scratch, [&](std::int64_t row, std::int64_t target, bool counts) {
                            const float* x = logits + row * v;
                            float* dx = gradient + row * v;
                            if (!counts) {
                              std::memset(dx, 0, static_cast<std::size_t>(v) * sizeof(float));
                              return 0.0;
                            }
                            const float lse = log_sum_exp(x, v);
                            const double loss = loss_of(lse, x[target]);
                            softmax_gradient(x, v, lse, dloss, target, dx);
                            return loss;
                          });
      },
      loss_bytes(rows));
}

}  // namespace bessemer::kernels::cpu
