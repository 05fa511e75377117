#include <cmath>

#include "kernels/reference/access.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {
namespace {

/// Where element `e` of `shape` goes in the result that lacks the dimensions `gone`.
std::size_t reduced_element(std::int64_t e, const Shape& shape, const std::vector<bool>& gone) {
  std::int64_t element = 0, stride = 1;
  for (std::size_t d = shape.size(); d-- > 0;) {
    if (!gone[d]) {
      element += e % shape[d] * stride;
      stride *= shape[d];
    }
    e /= shape[d];
  }
  return static_cast<std::size_t>(element);
}

}  // namespace

Prepared reduce_sum(const KernelRequest& request) {
  const std::int64_t rank = request.operand(0).rank();
  std::vector<bool> gone(static_cast<std::size_t>(rank));
  for (const std::int64_t d : request.attributes.integers("dims")) gone[dimension(d, rank)] = true;
  return make_reference(request, [gone](const Call& call) {
    const Doubles x = call.operand(0);
    Doubles y = call.operand_or_zeros(1, 0);
    for (std::size_t e = 0; e < x.size(); ++e) {
      y[reduced_element(static_cast<std::int64_t>(e), call.type(0).shape, gone)] += x[e];
    }
    call.set_result(0, y);
  });
}

Prepared global_norm(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    double sum = 0;
    for (std::size_t i = 0; i < call.operands(); ++i) {
      for (const double x : call.operand(i)) sum += x * x;
    }
    call.set_result(0, {std::sqrt(sum)});
  });
}

}  // namespace bessemer::kernels::reference
