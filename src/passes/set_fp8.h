// set_fp8: the linear layers of a model's blocks multiply in 8-bit floating point.
//
// Of each layer y = x W' the three products become `quantize_fp8` and `scaled_matmul`: forward
// x W', and backward dy W (the gradient of x) and dy' x (that of W, which stays fp32). x and dy are
// quantized once for both of their products, with the transpose that tensor cores want, so that
// backward keeps the 8 bits of x and not its bf16. W is quantized from its fp32 master. The head,
// embeddings, attention itself, norms and sums stay as they are. (Micikevicius et al., "FP8 formats
// for deep learning", 2022; blocks: DeepSeek-AI, "DeepSeek-V3 technical report", 2024,
// section 3.3.)
//
// current  one scale a tensor, from its largest magnitude; x and W in E4M3, dy in E5M2.
// delayed  the same formats, but x and dy are scaled by what they reached in the last updates:
//          number i of the optimizer state "fp8.amax", which collect_amax and add_optimizer keep.
//          0: nothing is known of that tensor yet, and a magnitude is assumed that few exceed.
//          Activations are numbered in the order of forward, gradients after them: all graphs of a
//          run number alike. W has its current scale, taken once an update.
// block    x and dy in blocks of 128 along what a product sums over, W in squares of 128; all E4M3.
//
// A layer whose sizes (rows, inputs, outputs) are not all multiples of 16, or of 128 with blocks,
// stays in bf16; the log says how many, and why.
//
// Must run after set_precision (it takes bf16 products) and before hoist_weights, which moves what
// is made of W alone out of the step, and all fusion.
#pragma once

#include <cstdint>

#include "ir/graph.h"

namespace bessemer::passes {

/// State of delayed scaling, fp32 [tensors]: what each reached in the last updates.
inline constexpr const char* kFp8Amax = "fp8.amax";

enum class Fp8Scaling : std::uint8_t { current, delayed, block };

ir::Graph set_fp8(ir::Graph graph, Fp8Scaling scaling);

}  // namespace bessemer::passes
