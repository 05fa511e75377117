// Fusion, in six passes. All run after set_precision (types are final) and hoist_weights.
//
// fuse_loss         the head's forward and backward become one node that makes the logits once.
//                   Possible because the gradient of the loss is an input, known beforehand. Runs
//                   before fuse_addends, which then gives the merged node the head's gradient sum.
// fuse_activations  gelu or silu of a matrix product that nothing else reads becomes the product's
//                   epilogue. Training keeps the product for the backward pass, so this serves
//                   evaluation and generation. Runs before fuse_addends: y = act(ab) + addend.
// fuse_activation_gradients
//                   gelu_grad of a matrix product that nothing else reads becomes the product's
//                   epilogue: the gradient before it is neither rounded nor written. For devices
//                   whose products do that (CUDA's). The way forward is left as it is: there an
//                   epilogue would round otherwise than gelu made again from the kept sum.
// fuse_bias_gradients
//                   the sum of the rows of dy, a bias's gradient, becomes a second result of the
//                   product dy' x, the weight's, which reads dy anyway. For CUDA devices too. Runs
//                   before fuse_addends: the product that it looks for has no addend yet.
//                   Products of TF32, which lose bits of dy, and of fp8 are left.
// fuse_addends      a sum with the result of matmul, a norm's gradient, embedding_grad or the head
//                   becomes that op's own addend: residual connections, gradient accumulation. No
//                   extra pass over memory, and the sum is rounded once.
// fuse_amax         the amax that scales a tensor in fp8 is taken by the node that makes the
// tensor:
//                   a norm or its gradient, an activation function or its gradients. For devices
//                   whose kernels do that (CUDA's); same bits. Runs after fuse_addends, since the
//                   sum is what is scaled.
// fuse_elementwise  chains of element-wise ops become one `fused` node that moves memory once.
//                   Intermediate roundings are kept (`round_bf16`), so numbers do not change. Runs
//                   last: what the others absorb is gone by then.
#pragma once

#include "ir/graph.h"

namespace bessemer::passes {

ir::Graph fuse_loss(ir::Graph graph);
ir::Graph fuse_activations(ir::Graph graph);
ir::Graph fuse_activation_gradients(ir::Graph graph);
ir::Graph fuse_bias_gradients(ir::Graph graph);
ir::Graph fuse_addends(ir::Graph graph);
ir::Graph fuse_amax(ir::Graph graph);
ir::Graph fuse_elementwise(ir::Graph graph);

}  // namespace bessemer::passes
