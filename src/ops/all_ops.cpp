// The explicit table of ops, in the order of docs/ops.md.
#include "ops/all_ops.h"

namespace bessemer::ops {

std::span<const OpDefinition> all_ops() {
  static const std::vector<OpDefinition> table{
      matmul_op(),
      add_op(),
      multiply_op(),
      scale_op(),
      cast_op(),
      reshape_op(),
      transpose_op(),
      slice_op(),
      pad_op(),
      concat_op(),
      reduce_sum_op(),
      broadcast_op(),
      fill_op(),
      embedding_op(),
      embedding_grad_op(),
      layer_norm_op(),
      layer_norm_grad_op(),
      rms_norm_op(),
      rms_norm_grad_op(),
      rope_op(),
      gelu_op(),
      gelu_grad_op(),
      silu_op(),
      silu_grad_op(),
      swiglu_op(),
      swiglu_grad_op(),
      dropout_op(),
      attention_op(),
      attention_grad_op(),
      linear_cross_entropy_op(),
      linear_cross_entropy_grad_op(),
      linear_cross_entropy_train_op(),
      global_norm_op(),
      clip_coefficient_op(),
      count_step_op(),
      adamw_update_op(),
      cache_write_op(),
      fused_op(),
      quantize_blocks_op(),
      dequantize_blocks_op(),
      sum_of_squares_op(),
      norm_of_sums_op(),
      fetch_op(),
      store_op(),
      matmul_tile_op(),
      cross_entropy_rows_op(),
      cross_entropy_rows_train_op(),
  };
  return table;
}

}  // namespace bessemer::ops
