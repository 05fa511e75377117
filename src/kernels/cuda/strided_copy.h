// Copies along strides on a CUDA device: permutations, slices, broadcasts, fills.
#pragma once

#include <functional>

#include "kernels/cuda/device.h"
#include "kernels/cuda/strided_problem.h"
#include "kernels/element_bytes.h"

namespace bessemer::kernels::cuda {

/// Dimensions that do not run on into each other; any more are declined.
inline constexpr std::int64_t kMostDimensions = 8;

/// Queues what was prepared. Both buffers begin at multiples of 16 bytes and do not overlap.
using Movement = std::function<void(const void* from, void* to, Stream stream)>;

Movement strided_copy(const StridedProblem& problem);

/// The same with `element` for a source, of which `from` plays no part.
Movement strided_fill(const StridedProblem& problem, const ElementBytes& element);

}  // namespace bessemer::kernels::cuda
