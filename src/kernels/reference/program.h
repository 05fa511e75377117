// Element-wise programs in fp64.
#pragma once

#include <vector>

#include "kernels/elementwise_program.h"
#include "kernels/reference/access.h"

namespace bessemer::kernels::reference {

/// What the program returns. The first input gives the size of all results; the others are repeated
/// to meet it.
std::vector<Doubles> run_program(const ElementwiseProgram& program,
                                 const std::vector<Doubles>& inputs);

}  // namespace bessemer::kernels::reference
