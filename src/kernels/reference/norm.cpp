// Layer normalisation: Ba, Kiros and Hinton, 2016. RMS normalisation: Zhang and Sennrich, 2019.
#include <cmath>

#include "kernels/reference/access.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {
namespace {

/// Where it is asked for: the largest magnitude of result 0, which is `values` rounded.
void set_amax(const Call& call, std::size_t result, const Doubles& values) {
  if (!call.has_result(result)) return;
  call.set_result(result, {largest_magnitude(rounded(values, call.result_type(0).dtype))});
}

struct Statistics {
  double mean = 0, rstd = 0;
};

/// Of a row; an RMS norm, which is not centred, has mean 0.
Statistics statistics_of(const double* row, std::size_t hidden, double epsilon, bool centred) {
  double mean = 0, variance = 0;
  for (std::size_t h = 0; h < hidden && centred; ++h) mean += row[h];
  mean /= static_cast<double>(hidden);
  for (std::size_t h = 0; h < hidden; ++h) variance += (row[h] - mean) * (row[h] - mean);
  variance /= static_cast<double>(hidden);
  return {mean, 1 / std::sqrt(variance + epsilon)};
}

/// y = (x - mean) * rstd * gain + bias, row by row; an RMS norm has no bias.
void normalise(const Call& call, double epsilon, bool centred) {
  const Doubles x = call.operand(0), gain = call.operand(1);
  const std::size_t hidden = gain.size(), rows = x.size() / hidden;
  const Doubles bias = centred && call.has(2) ? call.operand(2) : Doubles(hidden);
  Doubles y(x.size()), means(rows), rstds(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    const double* row = x.data() + r * hidden;
    const Statistics of_row = statistics_of(row, hidden, epsilon, centred);
    for (std::size_t h = 0; h < hidden; ++h) {
      y[r * hidden + h] = (row[h] - of_row.mean) * of_row.rstd * gain[h] + bias[h];
    }
    means[r] = of_row.mean;
    rstds[r] = of_row.rstd;
  }
  call.set_result(0, y);
  if (centred) call.set_result(1, means);
  call.set_result(centred ? 2 : 1, rstds);
  set_amax(call, centred ? 3 : 2, y);
}

/// With n = (x - mean) * rstd and g = dy * gain:
///   dx = rstd * (g - mean(g) - n * mean(g * n)), where an RMS norm lacks the middle term,
///   dgain = sum of dy * n, dbias = sum of dy, over rows.
void normalise_grad(const Call& call, bool centred) {
  const Doubles dy = call.operand(0), x = call.operand(1), gain = call.operand(2);
  const std::size_t hidden = gain.size(), rows = x.size() / hidden;
  const Doubles means = centred ? call.operand(3) : Doubles(rows);
  const Doubles rstds = call.operand(centred ? 4 : 3);
  Doubles dx = call.operand_or_zeros(centred ? 5 : 4, 0);
  Doubles dgain(hidden), dbias(hidden), n(hidden), g(hidden);
  for (std::size_t r = 0; r < rows; ++r) {
    double mean_g = 0, mean_gn = 0;
    for (std::size_t h = 0; h < hidden; ++h) {
      const std::size_t e = r * hidden + h;
      n[h] = (x[e] - means[r]) * rstds[r];
      g[h] = dy[e] * gain[h];
      mean_g += g[h] / static_cast<double>(hidden);
      mean_gn += g[h] * n[h] / static_cast<double>(hidden);
      dgain[h] += dy[e] * n[h];
      dbias[h] += dy[e];
    }
    for (std::size_t h = 0; h < hidden; ++h) {
      const double shift = centred ? mean_g : 0;
      dx[r * hidden + h] += rstds[r] * (g[h] - shift - n[h] * mean_gn);
    }
  }
  call.set_result(0, dx);
  call.set_result(1, dgain);
  if (centred) call.set_result(2, dbias);
  set_amax(call, centred ? 3 : 2, dx);
}

}  // namespace

Prepared layer_norm(const KernelRequest& request) {
  const double epsilon = request.attributes.real("epsilon");
  return make_reference(request, [epsilon](const Call& call) { normalise(call, epsilon, true); });
}

Prepared layer_norm_grad(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) { normalise_grad(call, true); });
}

Prepared rms_norm(const KernelRequest& request) {
  const double epsilon = request.attributes.real("epsilon");
  return make_reference(request, [epsilon](const Call& call) { normalise(call, epsilon, false); });
}

Prepared norm_statistics(const KernelRequest& request) {
  const double epsilon = request.attributes.real("epsilon");
  const bool centred = request.attributes.boolean("centred");
  return make_reference(request, [=](const Call& call) {
    const Doubles x = call.operand(0);
    Doubles means = call.zeros(0), rstds = means;
    const auto hidden = static_cast<std::size_t>(call.type(0).shape.back());
    for (std::size_t r = 0; r < rstds.size(); ++r) {
      const Statistics of_row = statistics_of(x.data() + r * hidden, hidden, epsilon, centred);
      means[r] = of_row.mean;
      rstds[r] = of_row.rstd;
    }
    if (centred) call.set_result(0, means);
    call.set_result(centred ? 1 : 0, rstds);
  });
}

Prepared rms_norm_grad(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) { normalise_grad(call, false); });
}

}  // namespace bessemer::kernels::reference
