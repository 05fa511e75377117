// AdamW: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, in PyTorch's form;
// and what decides whether and how far a step goes.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/reference/access.h"
#include "kernels/reference/reference.h"
#include "kernels/stochastic_rounding.h"

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

/// Where a parameter stands among the operands and results; its gradient, m and v come after it,
/// the new m and v after the new parameter.
struct Place {
  AdamW adamw;
  std::size_t operand, result;
  std::optional<std::size_t> weight = {};
  std::int64_t seed = 0, site = 0, first = 0;  // of the random bits that a bf16 parameter draws
};

struct Scalars {
  double learning_rate, step, coefficient;
};

void round(const Place& at, double step, Doubles& parameter) {
  const CounterRng rng = rounding_rng(at.seed, static_cast<std::int64_t>(step), at.site);
  auto index = static_cast<std::uint64_t>(at.first);
  for (double& p : parameter) {
    const BFloat16 rounded =
        round_stochastically(static_cast<float>(p), rounding_bits(rng, index++));
    p = static_cast<float>(rounded);
  }
}

void update(const Place& at, const Scalars& scalars, const Call& call) {
  Doubles parameter = call.operand(at.operand), m = call.operand(at.operand + 2),
          v = call.operand(at.operand + 3);
  const Doubles gradient = call.operand(at.operand + 1);
  if (!std::isnan(scalars.coefficient)) {
    for (std::size_t i = 0; i < parameter.size(); ++i) {
      at.adamw.update(parameter[i], gradient[i] * scalars.coefficient, m[i], v[i],
                      scalars.learning_rate, scalars.step);
    }
    if (call.type(at.operand).dtype == DType::bf16) round(at, scalars.step, parameter);
  }
  call.set_result(at.result, parameter);
  call.set_result(at.result + 1, m);
  call.set_result(at.result + 2, v);
  if (!at.weight) return;
  for (double& p : parameter) p = round_to(call.result_type(at.result).dtype, p);
  call.set_result(*at.weight, parameter);
}

AdamW adamw_of(const KernelRequest& request) {
  return {request.attributes.real("beta1"), request.attributes.real("beta2"),
          request.attributes.real("epsilon"), request.attributes.real("weight_decay")};
}

}  // namespace

Prepared adamw_update(const KernelRequest& request) {
  const Attributes& attributes = request.attributes;
  Place place{adamw_of(request), 0, 0};
  if (request.results.size() > 3) place.weight = 3;
  place.seed = attributes.integer("seed", 0);
  place.site = attributes.integer("site", 0);
  place.first = attributes.integer("first", 0);
  return make_reference(request, [place](const Call& call) {
    update(place, {call.scalar(4), call.scalar(5), call.scalar(6)}, call);
  });
}

Prepared adamw_update_all(const KernelRequest& request) {
  const auto decays = request.attributes.integers("decays");
  const auto weights = request.attributes.integers("weights");
  const auto sites = request.attributes.integers("sites", std::vector<std::int64_t>(decays.size()));
  std::size_t next_weight = 3 * decays.size();
  std::vector<Place> places;
  for (std::size_t i = 0; i < decays.size(); ++i) {
    Place& place = places.emplace_back(Place{adamw_of(request), 3 + 4 * i, 3 * i});
    if (decays[i] == 0) place.adamw.weight_decay = 0;
    if (weights[i] != 0) place.weight = next_weight++;
    place.seed = request.attributes.integer("seed", 0);
    place.site = sites[i];
  }
  return make_reference(request, [places = std::move(places)](const Call& call) {
    const Scalars scalars{call.scalar(0), call.scalar(1), call.scalar(2)};
    for (const Place& place : places) update(place, scalars, call);
  });
}

Prepared clip_coefficient(const KernelRequest& request) {
  const double max_norm = request.attributes.real("max_norm");
  return make_reference(request, [max_norm](const Call& call) {
    const double norm = call.scalar(0), loss = call.scalar(1);
    const Doubles amaxes = call.has(2) ? call.operand(2) : Doubles();
    const bool finite =
        std::isfinite(norm) && std::isfinite(loss) &&
        std::all_of(amaxes.begin(), amaxes.end(), [](double a) { return std::isfinite(a); });
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

Prepared add_loss(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    call.set_result(0, {(call.has(1) ? call.scalar(1) : 0.0) + call.scalar(0)});
  });
}

Prepared mean_loss(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    const double mean = call.scalar(0) * call.scalar(1);
    call.set_result(0, {mean});
    call.set_result(1, {mean});
  });
}

}  // namespace bessemer::kernels::reference
