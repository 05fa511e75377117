// Attention through cuDNN's flash attention, beside the own kernels (cuda.h), which it is to be
// held against: in no op's list of candidates, so that no plan takes it, as long as no device has
// run it.
#pragma once

#include "kernels/kernel.h"

namespace bessemer::kernels::cuda {

/// bf16, as many queries as keys (a multiple of 128), heads of 64 to 128; no dropout, no
/// visibility. Declines all of it where the program is built without cuDNN's headers.
Prepared cudnn_attention(const KernelRequest& request);
/// In its deterministic form, whose scratch has two bytes for each pair of query and key.
Prepared cudnn_attention_grad(const KernelRequest& request);

}  // namespace bessemer::kernels::cuda
