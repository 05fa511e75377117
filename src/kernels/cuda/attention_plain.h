// Attention without the tensor cores: for fp32, and for shapes that the tiles of attention.cu do
// not take. Takes whatever cpu::read_attention lets through.
#pragma once

#include "kernels/cpu/attention_problem.h"
#include "kernels/kernel.h"

namespace bessemer::kernels::cuda {

Prepared plain_attention(const cpu::AttentionProblem& problem);
Prepared plain_attention_grad(const cpu::AttentionProblem& problem);

}  // namespace bessemer::kernels::cuda
