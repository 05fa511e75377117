// What decides whether and how far a step goes: one scalar each.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda {
namespace {

__global__ void decide_clip(const float* norm, const float* loss, const float* amaxes,
                            std::int64_t count, double max_norm, float* coefficient) {
  int lost = 0;
  for (std::int64_t i = lane(); i < count; i += kWarp) lost |= std::isfinite(amaxes[i]) ? 0 : 1;
  lost = warp_max(lost);
  if (threadIdx.x != 0) return;
  const double n = *norm;
  const double wanted = max_norm > 0 ? max_norm / (n + 1e-6) : 1.0;
  const bool finite = std::isfinite(*norm) && std::isfinite(*loss) && lost == 0;
  *coefficient = finite ? static_cast<float>(wanted < 1 ? wanted : 1.0) : NAN;
}

__global__ void count(const std::int64_t* step, const float* coefficient, std::int64_t* result) {
  if (threadIdx.x == 0) *result = std::isnan(*coefficient) ? *step : *step + 1;
}

__global__ void add(const float* loss, const double* sum, double* result) {
  if (threadIdx.x == 0) *result = (sum == nullptr ? 0.0 : *sum) + static_cast<double>(*loss);
}

__global__ void take_mean(const double* sum, const double* scale, double* mean, float* rounded) {
  if (threadIdx.x != 0) return;
  const double exact = *sum * *scale;
  *mean = exact;
  *rounded = static_cast<float>(exact);
}

constexpr Grid kOneWarp{1, 1, 1, kWarp};

}  // namespace

Prepared clip_coefficient(const KernelRequest& request) {
  if (request.results[0].dtype != DType::fp32) return Declined{"the coefficient is not fp32"};
  const double max_norm = request.attributes.real("max_norm");
  const std::int64_t count = request.has_operand(2) ? request.operand(2).elements() : 0;
  return make_kernel([max_norm, count](const KernelBuffers& buffers) {
    launch(decide_clip, kOneWarp, buffers.stream, buffers.operand<float>(0),
           buffers.operand<float>(1), buffers.operand<float>(2), count, max_norm,
           buffers.result<float>(0));
  });
}

Prepared count_step(const KernelRequest& request) {
  if (request.operand(1).dtype != DType::fp32) return Declined{"the coefficient is not fp32"};
  return make_kernel([](const KernelBuffers& buffers) {
    launch(count, kOneWarp, buffers.stream, buffers.operand<std::int64_t>(0),
           buffers.operand<float>(1), buffers.result<std::int64_t>(0));
  });
}

Prepared add_loss(const KernelRequest& request) {
  if (request.operand(0).dtype != DType::fp32) return Declined{"the loss is not fp32"};
  return make_kernel([is_first = !request.has_operand(1)](const KernelBuffers& buffers) {
    launch(add, kOneWarp, buffers.stream, buffers.operand<float>(0),
           is_first ? nullptr : buffers.operand<double>(1), buffers.result<double>(0));
  });
}

Prepared mean_loss(const KernelRequest& request) {
  if (request.results[1].dtype != DType::fp32) return Declined{"the mean is not fp32"};
  return make_kernel([](const KernelBuffers& buffers) {
    launch(take_mean, kOneWarp, buffers.stream, buffers.operand<double>(0),
           buffers.operand<double>(1), buffers.result<double>(0), buffers.result<float>(1));
  });
}

}  // namespace bessemer::kernels::cuda
