// What decides whether and how far a step goes: one scalar each, without the heap that the
// reference takes.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/cpu.h"
#include "kernels/prepare.h"

namespace bessemer::kernels::cpu {

Prepared clip_coefficient(const KernelRequest& request) {
  if (request.results[0].dtype != DType::fp32) return Declined{"the coefficient is not fp32"};
  const double max_norm = request.attributes.real("max_norm");
  const std::int64_t count = request.has_operand(2) ? request.operand(2).elements() : 0;
  return make_kernel([max_norm, count](const KernelBuffers& buffers) {
    const float* amaxes = buffers.operand<float>(2);
    const double norm = *buffers.operand<float>(0), loss = *buffers.operand<float>(1);
    double coefficient = max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
    const bool finite =
        std::isfinite(norm) && std::isfinite(loss) &&
        std::all_of(amaxes, amaxes + count, [](float a) { return std::isfinite(a); });
    if (!finite) {
      coefficient = std::numeric_limits<double>::quiet_NaN();
    }
    *buffers.result<float>(0) = static_cast<float>(coefficient);
  });
}

Prepared count_step(const KernelRequest& request) {
  if (request.operand(1).dtype != DType::fp32) return Declined{"the coefficient is not fp32"};
  return make_kernel([](const KernelBuffers& buffers) {
    const std::int64_t step = *buffers.operand<std::int64_t>(0);
    *buffers.result<std::int64_t>(0) = std::isnan(*buffers.operand<float>(1)) ? step : step + 1;
  });
}

Prepared add_loss(const KernelRequest& request) {
  if (request.operand(0).dtype != DType::fp32) return Declined{"the loss is not fp32"};
  return make_kernel([is_first = !request.has_operand(1)](const KernelBuffers& buffers) {
    const double sum = is_first ? 0.0 : *buffers.operand<double>(1);
    *buffers.result<double>(0) = sum + static_cast<double>(*buffers.operand<float>(0));
  });
}

Prepared mean_loss(const KernelRequest& request) {
  if (request.results[1].dtype != DType::fp32) return Declined{"the mean is not fp32"};
  return make_kernel([](const KernelBuffers& buffers) {
    const double mean = *buffers.operand<double>(0) * *buffers.operand<double>(1);
    *buffers.result<double>(0) = mean;
    *buffers.result<float>(1) = static_cast<float>(mean);
  });
}

}  // namespace bessemer::kernels::cpu
