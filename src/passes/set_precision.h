// set_precision: applies a precision recipe to an fp32 graph.
//
// fp32  nothing changes.
// bf16  activations and matrix products in bf16 (fp32 accumulation inside kernels); parameters stay
//       fp32 masters, of which matrices get a bf16 copy by an explicit cast; statistics, losses,
//       reductions and the gradients of parameters stay fp32. (Kalamkar et al., "A study of
//       bfloat16 for deep learning training", 2019.)
//
// Must run after differentiate (so that forward and backward get one treatment) and before
// fuse (which would hide values whose type changes).
#pragma once

#include <string>
#include <string_view>

#include "ir/graph.h"

namespace bessemer::passes {

enum class Recipe { fp32, bf16 };

/// InputError naming the recipes there are.
Recipe parse_recipe(std::string_view name);

ir::Graph set_precision(ir::Graph graph, Recipe recipe);

}  // namespace bessemer::passes
