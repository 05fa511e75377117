// An element-wise program (kernels/elementwise_program.h) as a kernel in CUDA C++, to be compiled
// by jit.h. All arithmetic is fp32, one rounding an instruction of the program: multiplications and
// additions are contracted only where the text says so, so a group rounds as the ops apart would.
//
// A thread moves packs of `width` elements, 16 bytes of the narrowest dtype; a block takes a tile
// of kThreads x unroll packs at a time, and each thread has all its loads of a tile in flight
// before it computes. What does not fill a pack at the end is done element by element.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/elementwise_program.h"

namespace bessemer::kernels::cuda {

/// An operand of the node: fp32 or bf16, of as many elements as the results, or of a part of them
/// that it repeats.
struct ElementwiseInput {
  DType dtype = DType::fp32;
  std::int64_t elements = 0;
};

struct ElementwiseSource {
  static constexpr const char* kName = "elementwise";
  static constexpr int kThreads = 256;

  /// Defines kName(operands..., results..., long long elements), for blocks of kThreads. It does
  /// not depend on how many elements there are, but on which operands have as many.
  std::string text;
  std::vector<std::size_t> operands;  // of the node, those that the kernel takes
  int width = 0;
  int unroll = 0;

  /// Blocks that `elements` are worth: a tile each, until there are so many that they take turns.
  std::int64_t blocks(std::int64_t elements) const;
};

/// An absent operand is nullopt; the program does not read it. Results are fp32 or bf16.
ElementwiseSource elementwise_source(const ElementwiseProgram& program,
                                     std::span<const std::optional<ElementwiseInput>> inputs,
                                     std::span<const DType> results, std::int64_t elements);

}  // namespace bessemer::kernels::cuda
