// AdamW: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, in PyTorch's form;
// and what decides whether and how far a step goes.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/reference/access.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {
namespace {

struct AdamW {
  double beta1, beta2, epsilon, weight_decay;

  /// One element. `step` is 1 for the first.
  void update(double& parameter, double gradient, double& m, double& v, double learning_rate,
              double step) const {
    parameter *= 1 - learning_rate * weight_decay;
    m = beta1 * m + (1 - beta1) * gradient;
    v = beta2 * v + (1 - beta2) * gradient * gradient;
    const double correction1 = 1 - std::pow(beta1, step);
    const double correction2 = 1 - std::pow(beta2, step);
    const double denominator = std::sqrt(v) / std::sqrt(correction2) + epsilon;
    parameter -= learning_rate / correction1 * m / denominator;
  }
};

}  // namespace

Prepared adamw_update(const KernelRequest& request) {
  const AdamW adamw{request.attributes.real("beta1"), request.attributes.real("beta2"),
                    request.attributes.real("epsilon"), request.attributes.real("weight_decay")};
  return make_reference(request, [adamw](const Call& call) {
    Doubles parameter = call.operand(0), m = call.operand(2), v = call.operand(3);
    const Doubles gradient = call.operand(1);
    const double learning_rate = call.scalar(4), step = call.scalar(5),
                 coefficient = call.scalar(6);
    if (!std::isnan(coefficient)) {
      for (std::size_t i = 0; i < parameter.size(); ++i) {
        adamw.update(parameter[i], gradient[i] * coefficient, m[i], v[i], learning_rate, step);
      }
    }
    call.set_result(0, parameter);
    call.set_result(1, m);
    call.set_result(2, v);
  });
}

Prepared clip_coefficient(const KernelRequest& request) {
  const double max_norm = request.attributes.real("max_norm");
  return make_reference(request, [max_norm](const Call& call) {
    const double norm = call.scalar(0), loss = call.scalar(1);
    const bool finite = std::isfinite(norm) && std::isfinite(loss);
    const double clipped = max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
    call.set_result(0, {finite ? clipped : std::numeric_limits<double>::quiet_NaN()});
  });
}

Prepared count_step(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    const std::int64_t step = *call.buffers().operand<std::int64_t>(0);
    *call.buffers().result<std::int64_t>(0) = std::isnan(call.scalar(1)) ? step : step + 1;
  });
}

}  // namespace bessemer::kernels::reference
