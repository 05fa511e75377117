#include "kernels/cuda/product.h"

#include "base/error.h"

namespace bessemer::kernels::cuda {

void require_valid(const ProductSpec& spec) {
  const auto taken = [](DType dtype) { return dtype == DType::fp32 || dtype == DType::bf16; };
  require(taken(spec.input) && (spec.result == DType::fp32 || spec.result == spec.input),
          "a product of {} with a result of {}", name_of(spec.input), name_of(spec.result));
  require(spec.m > 0 && spec.n > 0 && spec.k > 0 && spec.batch > 0,
          "a product of {} x {} x {}, {} times", spec.m, spec.n, spec.k, spec.batch);
  require(!spec.addend || spec.activation == ProductSpec::Activation::none,
          "a product with an activation before an addend");
  require(spec.batch == 1 || (spec.a_row == 0 && spec.result_row == 0),
          "a batch of products with rows of a given length");
}

}  // namespace bessemer::kernels::cuda
