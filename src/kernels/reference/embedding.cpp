#include "kernels/reference/access.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {

Prepared embedding(const KernelRequest& request) {
  const auto first = static_cast<double>(request.attributes.integer("first", 0));
  return make_reference(request, [first](const Call& call) {
    const Doubles table = call.operand(0);
    Doubles ids = call.operand(1);
    for (double& id : ids) id -= first;
    const auto rows = call.type(0).shape[0];
    const auto hidden = static_cast<std::size_t>(call.type(0).shape[1]);
    Doubles y = call.operand_or_zeros(2, 0);
    for (std::size_t t = 0; t < ids.size(); ++t) {
      if (ids[t] < 0 || ids[t] >= static_cast<double>(rows)) continue;
      const std::size_t row = static_cast<std::size_t>(ids[t]) * hidden;
      for (std::size_t h = 0; h < hidden; ++h) y[t * hidden + h] = table[row + h];
    }
    call.set_result(0, y);
  });
}

Prepared embedding_grad(const KernelRequest& request) {
  const auto first = static_cast<double>(request.attributes.integer("first", 0));
  return make_reference(request, [first](const Call& call) {
    const Doubles dy = call.operand(0);
    Doubles ids = call.operand(1);
    for (double& id : ids) id -= first;
    const auto rows = call.result_type(0).shape[0];
    const auto hidden = static_cast<std::size_t>(call.result_type(0).shape[1]);
    Doubles dtable = call.operand_or_zeros(2, 0);
    for (std::size_t t = 0; t < ids.size(); ++t) {
      if (ids[t] < 0 || ids[t] >= static_cast<double>(rows)) continue;
      const std::size_t row = static_cast<std::size_t>(ids[t]) * hidden;
      for (std::size_t h = 0; h < hidden; ++h) dtable[row + h] += dy[t * hidden + h];
    }
    call.set_result(0, dtable);
  });
}

}  // namespace bessemer::kernels::reference
