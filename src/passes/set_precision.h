// set_precision: applies a precision recipe to an fp32 graph.
//
// fp32  nothing changes.
// tf32  products of linear layers and of the head may take their fp32 factors as TF32 (NVIDIA,
//       "A100 tensor core GPU architecture", 2020): an attribute, which kernels without such units
//       ignore.
// bf16  activations and matrix products in bf16 (fp32 accumulation inside kernels); parameters stay
//       fp32 masters, of which matrices get a bf16 copy by an explicit cast; statistics, losses,
//       reductions and the gradients of parameters stay fp32. (Kalamkar et al., "A study of
//       bfloat16 for deep learning training", 2019.)
// fp8   as bf16; then set_fp8 takes the products of linear layers.
//
// With bf16 and fp8 the parameters may be bf16 themselves: then matrices, tables among them, have
// no fp32 master, and AdamW rounds them stochastically. Vectors stay fp32.
//
// Must run after differentiate (so that forward and backward get one treatment) and before
// fuse (which would hide values whose type changes).
#pragma once

#include "ir/graph.h"

namespace bessemer::passes {

enum class Recipe {
  fp32,
  tf32,
  bf16,
  fp8_current,  // bf16, and after it set_fp8 with that scaling
  fp8_delayed,
  fp8_block,
};

/// A recipe, and what matrices are kept in as parameters: fp32, or bf16 where it computes in that.
struct Precision {
  Precision(Recipe how, DType kept = DType::fp32) : recipe(how), parameters(kept) {}  // NOLINT

  Recipe recipe;
  DType parameters;
};

ir::Graph set_precision(ir::Graph graph, Precision precision);

}  // namespace bessemer::passes
