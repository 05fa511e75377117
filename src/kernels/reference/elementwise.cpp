#include "kernels/reference/access.h"
#include "kernels/reference/activation.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {
namespace {

/// y[i] = f(x[i])
template <typename Function>
Prepared map(const KernelRequest& request, Function f) {
  return make_reference(request, [f](const Call& call) {
    Doubles y = call.operand(0);
    for (double& value : y) value = f(value);
    call.set_result(0, y);
  });
}

/// y[i] = f(a[i], b[i]); a smaller b (a suffix of a's shape, or a scalar) repeats.
template <typename Function>
Prepared zip(const KernelRequest& request, Function f) {
  return make_reference(request, [f](const Call& call) {
    Doubles y = call.operand(0);
    const Doubles b = call.operand(1);
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = f(y[i], b[i % b.size()]);
    call.set_result(0, y);
  });
}

}  // namespace

Prepared add(const KernelRequest& request) {
  return zip(request, [](double a, double b) { return a + b; });
}

Prepared add_all(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    for (std::size_t i = 0; 2 * i < call.operands(); ++i) {
      Doubles y = call.operand(2 * i);
      const Doubles b = call.operand(2 * i + 1);
      for (std::size_t e = 0; e < y.size(); ++e) y[e] += b[e];
      call.set_result(i, y);
    }
  });
}

Prepared multiply(const KernelRequest& request) {
  return zip(request, [](double a, double b) { return a * b; });
}

Prepared scale(const KernelRequest& request) {
  const double factor = request.attributes.real("factor");
  return map(request, [factor](double x) { return x * factor; });
}

Prepared cast(const KernelRequest& request) {
  if (request.operand(0).dtype == request.results[0].dtype) return reshape(request);
  return map(request, [](double x) { return x; });
}

Prepared gelu(const KernelRequest& request) {
  const bool tanh_form = is_tanh_form(request.attributes.text("approximate"));
  return map(request, tanh_form ? gelu_tanh : gelu_exact);
}

Prepared gelu_grad(const KernelRequest& request) {
  const bool tanh_form = is_tanh_form(request.attributes.text("approximate"));
  const ScalarFunction derivative = tanh_form ? gelu_tanh_derivative : gelu_exact_derivative;
  return zip(request, [derivative](double dy, double x) { return dy * derivative(x); });
}

Prepared silu(const KernelRequest& request) { return map(request, silu_value); }

Prepared silu_grad(const KernelRequest& request) {
  return zip(request, [](double dy, double x) { return dy * silu_derivative(x); });
}

Prepared swiglu(const KernelRequest& request) {
  return zip(request, [](double gate, double up) { return silu_value(gate) * up; });
}

Prepared swiglu_grad(const KernelRequest& request) {
  return make_reference(request, [](const Call& call) {
    const Doubles dy = call.operand(0), gate = call.operand(1), up = call.operand(2);
    Doubles dgate(dy.size()), dup(dy.size());
    for (std::size_t i = 0; i < dy.size(); ++i) {
      dgate[i] = dy[i] * up[i] * silu_derivative(gate[i]);
      dup[i] = dy[i] * silu_value(gate[i]);
    }
    call.set_result(0, dgate);
    call.set_result(1, dup);
  });
}

}  // namespace bessemer::kernels::reference
