// Which buffers a kernel of the language-model head with its loss has: linear_cross_entropy, its
// gradient, or both at once (docs/ops.md).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel.h"

namespace bessemer::kernels {

enum class HeadMode : std::uint8_t { forward, gradient, train };

/// The buffers of one call, whichever of the three ops it is. Null: absent.
struct HeadCall {
  const float* dloss = nullptr;
  const std::byte *x = nullptr, *w = nullptr;
  const std::int32_t* targets = nullptr;
  const float* given_lse = nullptr;
  const float* addend = nullptr;
  float *loss = nullptr, *lse = nullptr;
  std::byte* dx = nullptr;
  float* dw = nullptr;
};

inline HeadCall bind_head(HeadMode mode, const KernelBuffers& b) {
  HeadCall c;
  const std::size_t first = mode == HeadMode::forward ? 0 : 1;
  if (mode != HeadMode::forward) c.dloss = b.operand<float>(0);
  c.x = b.operand<std::byte>(first);
  c.w = b.operand<std::byte>(first + 1);
  c.targets = b.operand<std::int32_t>(first + 2);
  switch (mode) {
    case HeadMode::forward:
      c.loss = b.result<float>(0);
      c.lse = b.result<float>(1);
      break;
    case HeadMode::gradient:
      c.given_lse = b.operand<float>(4);
      c.addend = b.operand<float>(5);
      c.dx = b.result<std::byte>(0);
      c.dw = b.result<float>(1);
      break;
    case HeadMode::train:
      c.addend = b.operand<float>(4);
      c.loss = b.result<float>(0);
      c.dx = b.result<std::byte>(1);
      c.dw = b.result<float>(2);
      break;
  }
  return c;
}

}  // namespace bessemer::kernels
