#include "kernels/dropout_mask.h"
#include "kernels/reference/access.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {

Prepared dropout(const KernelRequest& request) {
  const double probability = request.attributes.real("probability");
  const auto site = static_cast<std::uint32_t>(request.attributes.integer("site"));
  threshold(probability);  // refuses what is no probability now, not in the step
  return make_reference(request, [probability, site](const Call& call) {
    const DropoutMask mask(call.buffers().operand<std::int64_t>(1), site, probability);
    Doubles y = call.operand(0);
    for (std::size_t i = 0; i < y.size(); ++i) {
      y[i] = mask.keep(i) ? y[i] * keep_scale(probability) : 0.0;
    }
    call.set_result(0, y);
  });
}

}  // namespace bessemer::kernels::reference
