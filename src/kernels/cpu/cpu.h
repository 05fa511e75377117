// The fast kernels of the CPU backend. Each may decline, with a reason, what it does not do; the
// next candidate then takes it. Own kernels are written with Highway and dispatched at run time to
// the best instruction set the machine has. Semantics: docs/ops.md.
#pragma once

#include "kernels/kernel.h"

namespace bessemer::kernels::cpu {

// matmul.cpp, matmul_tile.cpp, linear_cross_entropy.cpp: matrix products (product.h); and
// cross_entropy_rows.cpp, what stands between those of the last.
Prepared matmul(const KernelRequest& request);
Prepared matmul_tile(const KernelRequest& request);
Prepared cross_entropy_rows(const KernelRequest& request);
Prepared cross_entropy_rows_train(const KernelRequest& request);
Prepared linear_cross_entropy(const KernelRequest& request);
Prepared linear_cross_entropy_grad(const KernelRequest& request);
Prepared linear_cross_entropy_train(const KernelRequest& request);

// attention.cpp, attention_grad.cpp: tiled, online softmax.
Prepared attention(const KernelRequest& request);
Prepared attention_grad(const KernelRequest& request);

// norm.cpp
Prepared layer_norm(const KernelRequest& request);
Prepared layer_norm_grad(const KernelRequest& request);
Prepared rms_norm(const KernelRequest& request);
Prepared rms_norm_grad(const KernelRequest& request);

// elementwise.cpp: the fused program over L1-sized tiles, and the single element-wise ops as
// programs of one instruction.
Prepared fused(const KernelRequest& request);
Prepared add(const KernelRequest& request);
Prepared multiply(const KernelRequest& request);
Prepared scale(const KernelRequest& request);
Prepared cast(const KernelRequest& request);
Prepared gelu(const KernelRequest& request);
Prepared gelu_grad(const KernelRequest& request);
Prepared silu(const KernelRequest& request);
Prepared silu_grad(const KernelRequest& request);
Prepared swiglu(const KernelRequest& request);

// One file each; global_norm, sum_of_squares, norm_of_sums and adamw_update are in optimizer.cpp.
Prepared swiglu_grad(const KernelRequest& request);
Prepared rope(const KernelRequest& request);
Prepared reduce_sum(const KernelRequest& request);
Prepared embedding(const KernelRequest& request);
Prepared embedding_grad(const KernelRequest& request);
Prepared dropout(const KernelRequest& request);
Prepared global_norm(const KernelRequest& request);
Prepared sum_of_squares(const KernelRequest& request);
Prepared norm_of_sums(const KernelRequest& request);
Prepared adamw_update(const KernelRequest& request);

// quantize_blocks.cpp
Prepared quantize_blocks(const KernelRequest& request);
Prepared dequantize_blocks(const KernelRequest& request);

// quantize_fp8.cpp; amax_history.cpp; scaled_matmul.cpp, which emulates
Prepared amax(const KernelRequest& request);
Prepared collect_amax(const KernelRequest& request);
Prepared amax_history(const KernelRequest& request);
Prepared quantize_fp8(const KernelRequest& request);
Prepared scaled_matmul(const KernelRequest& request);

// step_decision.cpp
Prepared clip_coefficient(const KernelRequest& request);
Prepared count_step(const KernelRequest& request);
Prepared add_loss(const KernelRequest& request);
Prepared mean_loss(const KernelRequest& request);

// copy.cpp: everything that only moves bytes, of any dtype.
Prepared reshape(const KernelRequest& request);
Prepared transpose(const KernelRequest& request);
Prepared slice(const KernelRequest& request);
Prepared pad(const KernelRequest& request);
Prepared concat(const KernelRequest& request);
Prepared broadcast(const KernelRequest& request);
Prepared fill(const KernelRequest& request);
Prepared cache_write(const KernelRequest& request);

}  // namespace bessemer::kernels::cpu
