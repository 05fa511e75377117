// early_norm: the norm of a step's gradients is taken where its last micro-batch makes them.
//
// For steps whose gradients lie off the device: `update` would fetch each of them twice, for the
// norm that the clip coefficient needs, and for AdamW. Here each gradient's partial sums are taken
// while it is on the device anyway, and `update` fetches it once. Bit-equal to the norm of
// `update`.
//
// Must run after order and recompute (it chooses places) and before offload (which moves what it
// brings in).
//
//   accumulate_last  the graph of the last micro-batch, and the norm, to "step.gradient_norm"
//   update           takes the norm from there
#pragma once

#include "ir/graph.h"

namespace bessemer::passes {

/// `accumulate`: of the last micro-batch. `update`: of the synchronous step.
ir::Graph early_norm(const ir::Graph& accumulate, const ir::Graph& update);

/// The graph "update" of such a step.
ir::Graph update_after_norm(ir::Graph update);

}  // namespace bessemer::passes
