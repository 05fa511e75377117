// The output projection and the cross-entropy in one. The attribute `chunk` only bounds memory and
// does not matter here.
#include <algorithm>
#include <cmath>

#include "kernels/reference/access.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {
namespace {

/// logit(n, v) = x[n] . w[v]; rows are handled one at a time.
struct Projection {
  Projection(const Call& call, std::size_t first)
      : x(call.operand(first)),
        w(call.operand(first + 1)),
        targets(call.operand(first + 2)),
        hidden(static_cast<std::size_t>(call.type(first + 1).shape[1])),
        vocabulary(static_cast<std::size_t>(call.type(first + 1).shape[0])) {}

  std::size_t rows() const { return targets.size(); }

  /// A target outside [0, V) leaves its row out of the loss.
  bool counts(std::size_t n) const {
    return targets[n] >= 0 && targets[n] < static_cast<double>(vocabulary);
  }
  std::size_t target(std::size_t n) const { return static_cast<std::size_t>(targets[n]); }

  Doubles logits(std::size_t n) const {
    Doubles row(vocabulary);
    for (std::size_t v = 0; v < vocabulary; ++v) {
      for (std::size_t h = 0; h < hidden; ++h) row[v] += x[n * hidden + h] * w[v * hidden + h];
    }
    return row;
  }

  Doubles x, w, targets;
  std::size_t hidden, vocabulary;
};

double log_sum_exp(const Doubles& row) {
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const double value : row) sum += std::exp(value - largest);
  return largest + std::log(sum);
}

/// Adds what row `n` contributes to dx and dw: dlogit = dloss * (softmax - one-hot of the target).
void add_row_gradient(const Projection& projection, std::size_t n, const Doubles& logits,
                      double lse, double dloss, Doubles& dx, Doubles& dw) {
  const std::size_t hidden = projection.hidden;
  for (std::size_t v = 0; v < projection.vocabulary; ++v) {
    const double one_hot = v == projection.target(n) ? 1 : 0;
    const double dlogit = dloss * (std::exp(logits[v] - lse) - one_hot);
    for (std::size_t h = 0; h < hidden; ++h) {
      dx[n * hidden + h] += dlogit * projection.w[v * hidden + h];
      dw[v * hidden + h] += dlogit * projection.x[n * hidden + h];
    }
  }
}

void run_forward(const Call& call) {
  const Projection projection(call, 0);
  double loss = 0;
  Doubles lse(projection.rows());
  for (std::size_t n = 0; n < projection.rows(); ++n) {
    const Doubles logits = projection.logits(n);
    lse[n] = log_sum_exp(logits);
    if (projection.counts(n)) loss += lse[n] - logits[projection.target(n)];
  }
  call.set_result(0, {loss});
  call.set_result(1, lse);
}

void run_grad(const Call& call) {
  const double dloss = call.scalar(0);
  const Projection projection(call, 1);
  const Doubles lse = call.operand(4);
  Doubles dx = call.zeros(0), dw = call.operand_or_zeros(5, 1);
  for (std::size_t n = 0; n < projection.rows(); ++n) {
    if (!projection.counts(n)) continue;
    add_row_gradient(projection, n, projection.logits(n), lse[n], dloss, dx, dw);
  }
  call.set_result(0, dx);
  call.set_result(1, dw);
}

void run_train(const Call& call) {
  const double dloss = call.scalar(0);
  const Projection projection(call, 1);
  double loss = 0;
  Doubles dx = call.zeros(1), dw = call.operand_or_zeros(4, 2);
  for (std::size_t n = 0; n < projection.rows(); ++n) {
    if (!projection.counts(n)) continue;
    const Doubles logits = projection.logits(n);
    const double lse = log_sum_exp(logits);
    loss += lse - logits[projection.target(n)];
    add_row_gradient(projection, n, logits, lse, dloss, dx, dw);
  }
  call.set_result(0, {loss});
  call.set_result(1, dx);
  call.set_result(2, dw);
}

/// Rows of logits that are there, with their targets.
struct Rows {
  explicit Rows(const Call& call)
      : logits(call.operand(0)),
        targets(call.operand(1)),
        vocabulary(static_cast<std::size_t>(call.type(0).shape[1])) {}

  Doubles row(std::size_t n) const {
    const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(n * vocabulary);
    return {begin, begin + static_cast<std::ptrdiff_t>(vocabulary)};
  }
  bool counts(std::size_t n) const {
    return targets[n] >= 0 && targets[n] < static_cast<double>(vocabulary);
  }

  Doubles logits, targets;
  std::size_t vocabulary;
};

void run_rows(const Call& call) {
  const Rows rows(call);
  double loss = call.has(2) ? call.scalar(2) : 0;
  Doubles lse(rows.targets.size());
  for (std::size_t n = 0; n < lse.size(); ++n) {
    const Doubles row = rows.row(n);
    lse[n] = log_sum_exp(row);
    if (rows.counts(n)) loss += lse[n] - row[static_cast<std::size_t>(rows.targets[n])];
  }
  call.set_result(0, {loss});
  call.set_result(1, lse);
}

void run_rows_train(const Call& call) {
  const Rows rows(call);
  const double dloss = call.scalar(2);
  double loss = call.has(3) ? call.scalar(3) : 0;
  Doubles gradient = call.zeros(1);
  for (std::size_t n = 0; n < rows.targets.size(); ++n) {
    if (!rows.counts(n)) continue;
    const Doubles row = rows.row(n);
    const double lse = log_sum_exp(row);
    const auto target = static_cast<std::size_t>(rows.targets[n]);
    loss += lse - row[target];
    for (std::size_t v = 0; v < row.size(); ++v) {
      gradient[n * row.size() + v] = dloss * (std::exp(row[v] - lse) - (v == target ? 1 : 0));
    }
  }
  call.set_result(0, {loss});
  call.set_result(1, gradient);
}

}  // namespace

Prepared cross_entropy_rows(const KernelRequest& request) {
  return make_reference(request, run_rows);
}

Prepared cross_entropy_rows_train(const KernelRequest& request) {
  return make_reference(request, run_rows_train);
}

Prepared linear_cross_entropy(const KernelRequest& request) {
  return make_reference(request, run_forward);
}

Prepared linear_cross_entropy_grad(const KernelRequest& request) {
  return make_reference(request, run_grad);
}

Prepared linear_cross_entropy_train(const KernelRequest& request) {
  return make_reference(request, run_train);
}

}  // namespace bessemer::kernels::reference
