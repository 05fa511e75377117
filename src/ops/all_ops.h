// The definitions that the op files give, one function each. Only all_ops.cpp calls them; everyone
// else looks ops up by name (ops/op.h).
#pragma once

#include "ops/op.h"

namespace bessemer::ops {

OpDefinition matmul_op();
OpDefinition add_op();
OpDefinition add_all_op();
OpDefinition multiply_op();
OpDefinition scale_op();
OpDefinition cast_op();
OpDefinition reshape_op();
OpDefinition transpose_op();
OpDefinition slice_op();
OpDefinition pad_op();
OpDefinition concat_op();
OpDefinition reduce_sum_op();
OpDefinition broadcast_op();
OpDefinition fill_op();
OpDefinition embedding_op();
OpDefinition embedding_grad_op();
OpDefinition layer_norm_op();
OpDefinition layer_norm_grad_op();
OpDefinition rms_norm_op();
OpDefinition norm_statistics_op();
OpDefinition rms_norm_grad_op();
OpDefinition rope_op();
OpDefinition gelu_op();
OpDefinition gelu_grad_op();
OpDefinition silu_op();
OpDefinition silu_grad_op();
OpDefinition swiglu_op();
OpDefinition swiglu_grad_op();
OpDefinition dropout_op();
OpDefinition attention_op();
OpDefinition attention_grad_op();
OpDefinition linear_cross_entropy_op();
OpDefinition linear_cross_entropy_grad_op();
OpDefinition linear_cross_entropy_train_op();
OpDefinition global_norm_op();
OpDefinition clip_coefficient_op();
OpDefinition count_step_op();
OpDefinition add_loss_op();
OpDefinition mean_loss_op();
OpDefinition adamw_update_op();
OpDefinition adamw_update_all_op();
OpDefinition cache_write_op();
OpDefinition fused_op();
OpDefinition quantize_blocks_op();
OpDefinition dequantize_blocks_op();
OpDefinition amax_op();
OpDefinition collect_amax_op();
OpDefinition amax_history_op();
OpDefinition quantize_fp8_op();
OpDefinition scaled_matmul_op();
OpDefinition sum_of_squares_op();
OpDefinition norm_of_sums_op();
OpDefinition fetch_op();
OpDefinition store_op();
OpDefinition matmul_tile_op();
OpDefinition cross_entropy_rows_op();
OpDefinition cross_entropy_rows_train_op();

}  // namespace bessemer::ops
