// Kernels whose blocks are shared out over several tensors, one after the other.
#pragma once

#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda {

/// The index of the tensor that a block of the launch works on: the last whose `first_block` is not
/// behind it. `tensors` has `count` of them, one at least, in the order of their blocks.
template <typename Tensor>
__device__ int tensor_of_block(const Tensor* tensors, int count, int block) {
  int first = 0, last = count - 1;
  while (first < last) {
    const int middle = (first + last + 1) / 2;
    if (tensors[middle].first_block <= block) {
      first = middle;
    } else {
      last = middle - 1;
    }
  }
  return first;
}

}  // namespace bessemer::kernels::cuda
