// Movement between tiers that can be addressed, and the global norm in pieces.
#include <cmath>
#include <cstring>

#include "kernels/norm_block.h"
#include "kernels/reference/access.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {

// These two run on a thread of their own beside the team, so they do not call it.

Prepared fetch(const KernelRequest& request) {
  const TensorType& y = request.results[0];
  const auto skipped =
      static_cast<std::size_t>(request.attributes.integer("begin", 0)) * size_of(y.dtype);
  return make_kernel([skipped, bytes = y.bytes()](const KernelBuffers& buffers) {
    std::memcpy(buffers.result<std::byte>(0), buffers.operand<std::byte>(0) + skipped, bytes);
  });
}

Prepared store(const KernelRequest& request) {
  const TensorType& x = request.operand(0);
  const auto skipped =
      static_cast<std::size_t>(request.attributes.integer("begin", 0)) * size_of(x.dtype);
  const std::size_t whole = request.results[0].bytes();
  return make_kernel([skipped, whole, bytes = x.bytes()](const KernelBuffers& buffers) {
    auto* to = buffers.result<std::byte>(0);
    const auto* into = buffers.operand<std::byte>(1);
    if (into != nullptr && into != to) std::memcpy(to, into, whole);
    std::memcpy(to + skipped, buffers.operand<std::byte>(0), bytes);
  });
}

Prepared sum_of_squares(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    const Doubles x = call.operand(0);
    Doubles sums = call.zeros(0);
    for (std::size_t i = 0; i < x.size(); ++i) sums[i / kNormBlock] += x[i] * x[i];
    call.set_result(0, sums);
  });
}

Prepared norm_of_sums(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    double sum = 0;
    for (std::size_t i = 0; i < call.operands(); ++i) {
      for (const double part : call.operand(i)) sum += part;
    }
    call.set_result(0, {std::sqrt(sum)});
  });
}

}  // namespace bessemer::kernels::reference
