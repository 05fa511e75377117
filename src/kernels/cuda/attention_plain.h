// Attention without the tensor cores: for fp32, and for shapes that the tiles of attention.cu do
// not take. Takes whatever read_attention lets through.
#pragma once

#include "kernels/attention_problem.h"
#include "kernels/kernel.h"

namespace bessemer::kernels::cuda {

Prepared plain_attention(const AttentionProblem& problem);
Prepared plain_attention_grad(const AttentionProblem& problem);

}  // namespace bessemer::kernels::cuda
