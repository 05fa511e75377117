// The output projection and its cross-entropy in chunks of rows of a given size: what the kernels
// of linear_cross_entropy.cu are made of, for tests that want small chunks.
#pragma once

#include "kernels/head_call.h"
#include "kernels/kernel.h"

namespace bessemer::kernels::cuda {

/// Rows of a chunk, by the shape alone: the sums over rows that make dw depend on it.
std::int64_t head_chunk(std::int64_t rows, std::int64_t vocabulary);

/// linear_cross_entropy, _grad or _train, `chunk` rows at a time (a multiple of 32, or all).
Prepared head_in_chunks(const KernelRequest& request, HeadMode mode, std::int64_t chunk);

}  // namespace bessemer::kernels::cuda
