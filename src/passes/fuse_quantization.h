// fuse_quantization: tensors are quantized to fp8 by the kernel that makes them, for devices whose
// kernels do that (CUDA's).
//
// Before, after set_fp8:    y = swiglu(gate, up); q, scale, q_t = quantize_fp8(y, fp8.amax)
// After:                    q, scale, q_t = quantize_fp8(gate, up, fp8.amax) {program=...}
//
// - The sum over the rows of what is quantized, the gradient of a bias, is made by the node that
//   quantizes: the tensor is not read for it once more.
// - Activation functions and their gradients become the program of the node that quantizes them,
//   and y is neither written nor read; where something else reads it too, the node keeps it.
// - So do norms, whose statistics are a node of their own that only reads.
//
// A tensor that has its scale from its own amax (current scaling) has to be there before it can be
// quantized: of those, only the sums are taken. Numbers: the program rounds y as the op did, so the
// 8 bits stay the same up to the last bit of a norm; sums are added up in other blocks.
//
// Must run after fuse_activation_gradients, which does more for bf16 products, and before
// fuse_addends and fuse_elementwise, which would take what it looks for.
#pragma once

#include "ir/graph.h"

namespace bessemer::passes {

ir::Graph fuse_quantization(ir::Graph graph);

}  // namespace bessemer::passes
