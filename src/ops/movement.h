// What passes and plan need to know of the ops that move values between tiers, and of those that do
// in pieces what others do at once.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/attributes.h"
#include "base/tensor_type.h"
#include "kernels/norm_block.h"
#include "kernels/product_block.h"

namespace bessemer::ops {

/// Elements [begin, end) of a tensor in row-major order, whatever its shape.
struct ElementRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  bool meets(const ElementRange& other) const { return begin < other.end && other.begin < end; }
};

/// What a `fetch` of `x` reads.
ElementRange fetched_range(const Attributes& attributes, const TensorType& x);

/// What a `store` of `x` replaces in its `into`.
ElementRange stored_range(const Attributes& attributes, const TensorType& x);

/// Where a tensor may be cut so that `sum_of_squares` of the pieces gives the sums of the whole.
using kernels::kNormBlock;

/// Where a large matrix of weights may be cut so that products with the pieces give the whole's.
using kernels::is_large_matrix;
using kernels::product_block_rows;

inline bool moves_between_tiers(std::string_view op) { return op == "fetch" || op == "store"; }

}  // namespace bessemer::ops
