// compress_stash: backward reads what it takes from forward out of 8 bits (ops/quantize_blocks.cpp)
// (Chakrabarti and Moseley, "Backprop with approximate activations for memory-efficient network
// training", 2019; Chen et al., "ActNN: reducing training memory footprint via 2-bit activation
// compressed training", 2021).
//
// It changes gradients, so it runs only where the user asks for it. The loss of a step stays what
// it was, bit for bit: forward computes with its own values.
//
// What is kept in 8 bits are the values that the recomputation policy `selective` keeps: results of
// matrix products and of attention, and the residual stream. What it makes again (norms with their
// statistics, activations, rotations, dropout) backward always makes again here, from the values in
// 8 bits. So every value is rounded once, and a norm's gradient sees the statistics of the very
// values it sees. Statistics that are kept (the log-sum-exp of attention) stay as they are: they
// are small, and an error there would multiply a whole row of probabilities.
//
//   v = ...                              v = ...
//   y = f(v)                             v.int8 = quantize_blocks(v)     before the last use
//   ...                          ->      y = f(v)
//   dv = f_grad(dy, v)                   ...
//                                        v.restored = dequantize_blocks(v.int8)    before each use
//                                        dv = f_grad(dy, v.restored)
//
// It runs after `order`, because it places its nodes, and before `recompute`, which may drop v.int8
// and make it again: from v itself, so with the same bits. Which values are compressed depends on
// nothing but the graph; hence gradients are the same under every recomputation policy and budget.
#pragma once

#include "ir/graph.h"

namespace bessemer::passes {

/// How what backward takes from forward is kept.
enum class StashFormat {
  same,  // as forward makes it
  int8,  // in 8 bits, in blocks with a shared exponent
};

/// `ordered` with its stash in 8 bits.
ir::Graph compress_stash(ir::Graph ordered);

}  // namespace bessemer::passes
