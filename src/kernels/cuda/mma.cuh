// Products of small matrices by a warp, on the tensor cores, and what feeds them from shared
// memory. As PTX has them (its manual: "Warp-level matrix instructions"), from sm_80 on.
//
// With g = lane / 4 and c = lane % 4, a lane holds of
//
//   A, 16 x 16      word 0: row g, columns 2c and 2c + 1; word 1: row g + 8; words 2, 3: the same
//                   rows, columns + 8
//   B, 16 x 8       word 0: rows 2c and 2c + 1 of column g; word 1: rows + 8
//   C, 16 x 8       elements 0, 1: row g, columns 2c and 2c + 1; elements 2, 3: row g + 8
//
// A word is two bf16, the first in its lower half.
#pragma once

#include <cstdint>

#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda {

/// One operand A, or two operands B beside each other: words 0, 1 and words 2, 3.
struct Fragment {
  std::uint32_t at[4];
};

}  // namespace bessemer::kernels::cuda

#ifdef __CUDACC__
#include "kernels/cuda/driver/mma.cuh"
#else
#include "kernels/cuda/null/mma.h"
#endif

// Provided by both; all lanes of the warp call the first three:
//
//   multiply(c, a, b0, b1)          c[4] += a·b, of bf16 with sums in fp32
//   load_matrices(row)              four 8 x 8 matrices of shared memory, word i from matrix i: the
//                                   16 bytes at `row` of lane 8i + r are row r of it; a lane gets
//                                   elements 2c and 2c + 1 of row g
//   load_matrices_transposed(row)   a lane gets rows 2c and 2c + 1 of column g
//   pack_bf16(low, high)            a word of two, rounded to nearest, ties to even
//
//   copy_async(shared, global, there)   begins to copy 16 bytes, both sides at multiples of 16; or
//                                       writes zeros, where nothing is there
//   commit_copies()                     those begun since the last call are a group
//   wait_copies<n>()                    this thread's groups are there, but for the last n
