// The reference kernels: one for every op, in fp64, as obvious as can be. They are what every other
// kernel is tested against, the last candidate of every op, and right for every dtype and shape the
// op accepts. They never decline. Semantics: docs/ops.md.
#pragma once

#include "kernels/kernel.h"

namespace bessemer::kernels::reference {

Prepared matmul(const KernelRequest& request);
Prepared add(const KernelRequest& request);
Prepared add_all(const KernelRequest& request);
Prepared multiply(const KernelRequest& request);
Prepared scale(const KernelRequest& request);
Prepared cast(const KernelRequest& request);
Prepared reshape(const KernelRequest& request);
Prepared transpose(const KernelRequest& request);
Prepared slice(const KernelRequest& request);
Prepared pad(const KernelRequest& request);
Prepared concat(const KernelRequest& request);
Prepared reduce_sum(const KernelRequest& request);
Prepared broadcast(const KernelRequest& request);
Prepared fill(const KernelRequest& request);
Prepared matmul_tile(const KernelRequest& request);
Prepared cross_entropy_rows(const KernelRequest& request);
Prepared cross_entropy_rows_train(const KernelRequest& request);
Prepared embedding(const KernelRequest& request);
Prepared embedding_grad(const KernelRequest& request);
Prepared layer_norm(const KernelRequest& request);
Prepared layer_norm_grad(const KernelRequest& request);
Prepared rms_norm(const KernelRequest& request);
Prepared rms_norm_grad(const KernelRequest& request);
Prepared norm_statistics(const KernelRequest& request);
Prepared rope(const KernelRequest& request);
Prepared gelu(const KernelRequest& request);
Prepared gelu_grad(const KernelRequest& request);
Prepared silu(const KernelRequest& request);
Prepared silu_grad(const KernelRequest& request);
Prepared swiglu(const KernelRequest& request);
Prepared swiglu_grad(const KernelRequest& request);
Prepared dropout(const KernelRequest& request);
Prepared attention(const KernelRequest& request);
Prepared attention_grad(const KernelRequest& request);
Prepared linear_cross_entropy(const KernelRequest& request);
Prepared linear_cross_entropy_grad(const KernelRequest& request);
Prepared linear_cross_entropy_train(const KernelRequest& request);
Prepared global_norm(const KernelRequest& request);
Prepared clip_coefficient(const KernelRequest& request);
Prepared count_step(const KernelRequest& request);
Prepared add_loss(const KernelRequest& request);
Prepared mean_loss(const KernelRequest& request);
Prepared adamw_update(const KernelRequest& request);
Prepared adamw_update_all(const KernelRequest& request);
Prepared cache_write(const KernelRequest& request);
Prepared quantize_blocks(const KernelRequest& request);
Prepared dequantize_blocks(const KernelRequest& request);
Prepared amax(const KernelRequest& request);
Prepared collect_amax(const KernelRequest& request);
Prepared amax_history(const KernelRequest& request);
Prepared quantize_fp8(const KernelRequest& request);
Prepared scaled_matmul(const KernelRequest& request);
Prepared fetch(const KernelRequest& request);
Prepared store(const KernelRequest& request);
Prepared sum_of_squares(const KernelRequest& request);
Prepared norm_of_sums(const KernelRequest& request);
Prepared fused(const KernelRequest& request);

}  // namespace bessemer::kernels::reference
