// The kernels of the CUDA backend. Each may decline, with a reason, what it does not do; an op that
// every one declines cannot be planned for a CUDA device. Preparing needs neither device nor
// driver. Semantics: docs/ops.md. What they are written in: simt.cuh.
#pragma once

#include "kernels/kernel.h"

namespace bessemer::kernels::cuda {

// matmul.cu, linear_cross_entropy.cu: matrix products (product.h), and what stands between them.
Prepared matmul(const KernelRequest& request);
Prepared cross_entropy_rows(const KernelRequest& request);
Prepared cross_entropy_rows_train(const KernelRequest& request);
Prepared linear_cross_entropy(const KernelRequest& request);
Prepared linear_cross_entropy_grad(const KernelRequest& request);
Prepared linear_cross_entropy_train(const KernelRequest& request);

// amax.cu, amax_history.cu, quantize_fp8.cu, scaled_matmul.cu: 8-bit floating point
// (kernels/fp8.h). The second product is for devices and shapes that have none of such operands: of
// bf16, in scratch.
Prepared amax(const KernelRequest& request);
Prepared collect_amax(const KernelRequest& request);
Prepared amax_history(const KernelRequest& request);
Prepared quantize_fp8(const KernelRequest& request);
Prepared scaled_matmul(const KernelRequest& request);
Prepared scaled_matmul_dequantized(const KernelRequest& request);

// attention.cu, attention_grad.cu: tiled, online softmax, on the tensor cores.
Prepared attention(const KernelRequest& request);
Prepared attention_grad(const KernelRequest& request);

// norm.cu, reduce_sum.cu
Prepared layer_norm(const KernelRequest& request);
Prepared layer_norm_grad(const KernelRequest& request);
Prepared rms_norm(const KernelRequest& request);
Prepared rms_norm_grad(const KernelRequest& request);
Prepared norm_statistics(const KernelRequest& request);
Prepared reduce_sum(const KernelRequest& request);

// elementwise.cpp: programs, compiled at planning (jit.h), and the single ops as programs of one
// instruction; dropout.cu.
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
Prepared swiglu_grad(const KernelRequest& request);
Prepared dropout(const KernelRequest& request);

// add_all.cu
Prepared add_all(const KernelRequest& request);

// embedding.cu, rope.cu, quantize_blocks.cu, and copy.cu: what only moves bytes, of any dtype.
Prepared embedding(const KernelRequest& request);
Prepared embedding_grad(const KernelRequest& request);
Prepared rope(const KernelRequest& request);
Prepared quantize_blocks(const KernelRequest& request);
Prepared dequantize_blocks(const KernelRequest& request);
Prepared reshape(const KernelRequest& request);
Prepared transpose(const KernelRequest& request);
Prepared slice(const KernelRequest& request);
Prepared pad(const KernelRequest& request);
Prepared concat(const KernelRequest& request);
Prepared broadcast(const KernelRequest& request);
Prepared fill(const KernelRequest& request);
Prepared cache_write(const KernelRequest& request);
Prepared fetch(const KernelRequest& request);
Prepared store(const KernelRequest& request);

// adamw.cu, global_norm.cu, step_decision.cu
Prepared global_norm(const KernelRequest& request);
Prepared sum_of_squares(const KernelRequest& request);
Prepared norm_of_sums(const KernelRequest& request);
Prepared adamw_update(const KernelRequest& request);
Prepared adamw_update_all(const KernelRequest& request);
Prepared clip_coefficient(const KernelRequest& request);
Prepared count_step(const KernelRequest& request);
Prepared add_loss(const KernelRequest& request);
Prepared mean_loss(const KernelRequest& request);

}  // namespace bessemer::kernels::cuda
