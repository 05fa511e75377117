#include <cmath>

#include "kernels/reference/access.h"
#include "kernels/reference/reference.h"
#include "kernels/rope_frequencies.h"

namespace bessemer::kernels::reference {

Prepared rope(const KernelRequest& request) {
  const double sign = request.attributes.boolean("inverse", false) ? -1 : 1;
  const RopeFrequencies frequencies =
      rope_frequencies(request.operand(0).dim(-1), request.attributes);
  return make_reference(request, [sign, frequencies](const Call& call) {
    const Doubles x = call.operand(0), positions = call.operand(1);
    const std::size_t half = frequencies.inverse.size();
    const auto heads = static_cast<std::size_t>(call.type(0).dim(-2));
    Doubles y(x.size());
    for (std::size_t row = 0; row < x.size() / (2 * half); ++row) {  // one head of one token
      for (std::size_t i = 0; i < half; ++i) {
        const double angle = positions[row / heads] * frequencies.inverse[i];
        const double c = frequencies.attention_factor * std::cos(angle);
        const double s = frequencies.attention_factor * std::sin(angle) * sign;
        const std::size_t first = row * 2 * half + i, second = first + half;
        y[first] = c * x[first] - s * x[second];
        y[second] = s * x[first] + c * x[second];
      }
    }
    call.set_result(0, y);
  });
}

}  // namespace bessemer::kernels::reference
