#include "kernels/elementwise_ops.h"

#include <fmt/format.h>

namespace bessemer::kernels::elementwise {
namespace {

bool by_tanh(const Attributes& attributes) { return attributes.text("approximate") == "tanh"; }

}  // namespace

std::string scale(const Attributes& attributes) {
  const Attribute factor = attributes.real("factor");
  return fmt::format("t0 = scale x0 {}; return t0", bessemer::to_string(factor));
}

std::string gelu(const Attributes& attributes) { return by_tanh(attributes) ? kGeluTanh : kGelu; }

std::string gelu_grad(const Attributes& attributes) {
  return by_tanh(attributes) ? kGeluTanhGrad : kGeluGrad;
}

}  // namespace bessemer::kernels::elementwise
