// What delayed scaling keeps: a few numbers for each tensor, without the heap that the reference
// takes.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu.h"
#include "kernels/prepare.h"

namespace bessemer::kernels::cpu {
namespace {

/// Of two magnitudes; NaN is above all.
float larger(float a, float b) { return b > a || std::isnan(b) ? b : a; }

}  // namespace

Prepared collect_amax(const KernelRequest& request) {
  std::vector<std::int64_t> counts;  // of the maxima of each tensor
  for (std::int64_t i = 1; i <= request.results[0].elements(); ++i) {
    const auto operand = static_cast<std::size_t>(i);
    counts.push_back(request.has_operand(operand) ? request.operand(operand).elements() : 0);
  }
  return make_kernel([counts](const KernelBuffers& buffers) {
    const auto* before = buffers.operand<float>(0);
    auto* collected = buffers.result<float>(0);
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const auto* maxima = buffers.operand<float>(i + 1);
      float largest = before == nullptr ? 0.0f : before[i];
      for (std::int64_t t = 0; t < counts[i]; ++t) largest = larger(largest, maxima[t]);
      collected[i] = largest;
    }
  });
}

Prepared amax_history(const KernelRequest& request) {
  const std::int64_t steps = request.operand(0).dim(0), tensors = request.operand(0).dim(1);
  return make_kernel([steps, tensors](const KernelBuffers& buffers) {
    const auto* before = buffers.operand<float>(0);
    const auto* collected = buffers.operand<float>(1);
    const bool skipped = std::isnan(*buffers.operand<float>(2));
    auto* history = buffers.result<float>(0);
    auto* amax = buffers.result<float>(1);
    if (!skipped) {
      std::copy_backward(before, before + (steps - 1) * tensors, history + steps * tensors);
      std::copy_n(collected, tensors, history);
    } else if (history != before) {
      std::copy_n(before, steps * tensors, history);
    }
    std::fill_n(amax, tensors, 0.0f);
    for (std::int64_t i = 0; i < steps * tensors; ++i) {
      amax[i % tensors] = larger(amax[i % tensors], history[i]);
    }
  });
}

}  // namespace bessemer::kernels::cpu
