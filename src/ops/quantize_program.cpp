#include "ops/quantize_program.h"

#include "kernels/elementwise_ops.h"

namespace bessemer::ops {

std::string quantize_program(const ir::Node& node) {
  using namespace kernels::elementwise;
  if (node.op == "swiglu") return kSwiglu;
  if (node.op == "swiglu_grad") return kSwigluGrad;
  if (node.op == "gelu") return gelu(node.attributes);
  if (node.op == "gelu_grad") return gelu_grad(node.attributes);
  if (node.op == "rms_norm") return kRmsNorm;
  const bool has_bias = node.operands.size() > 2 && node.operands[2] != ir::kAbsent;
  if (node.op == "layer_norm" && has_bias) return kLayerNorm;
  return "";
}

}  // namespace bessemer::ops
