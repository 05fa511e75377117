// One table of uses over all ops, from which the tests of kernels, gradients and sharding rules are
// driven. A new op adds its uses to cases.cpp and is tested by all of them.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "support/op_runner.h"

namespace bessemer::testing {

struct OpCase {
  std::string op;
  Attributes attributes;
  std::function<Operands(DType)> operands;  // for an activation dtype T

  /// "matmul {transpose_a=true} (fp32[4,6], fp32[4,8])"
  std::string describe(DType dtype) const;
};

std::span<const OpCase> all_cases();

}  // namespace bessemer::testing
