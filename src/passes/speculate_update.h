// speculate_update: AdamW of each parameter runs as soon as its gradient is final, while backward
// goes on, as if the norm would turn out finite and need no clipping (SuperOffload's idea, Lian et
// al., 2025).
//
// The old values are the snapshot: new parameters and state are written to a second place of each
// tensor ("next.P"), nothing is overwritten. When norm and loss are known, `check` tells the clip
// coefficient. Is it 1, the places are exchanged: what AdamW has done with the coefficient 1 is
// what `update` would have done, bit for bit. Is it not, they stay, and the synchronous `update`
// and `refresh` run on the old values. So every step is the synchronous one's, whatever happens; a
// step that clips costs the speculation besides. It takes twice the space for parameters and state.
//
// Must run after order and recompute (it chooses places) and before offload (which moves what it
// brings in).
//
//   accumulate_last  the graph of the last micro-batch, AdamW into the next places and refreshed
//                    weights; takes data "learning_rate"; writes "step.gradient_norm"
//   check            data "loss_scale"; results "loss", "gradient_norm", "coefficient"
#pragma once

#include "ir/graph.h"

namespace bessemer::passes {

/// `accumulate`: of the last micro-batch. `update`: of the synchronous step, with the
/// weights that it writes. `refresh`: makes them all.
ir::Graph speculate_update(const ir::Graph& accumulate, const ir::Graph& update,
                           const ir::Graph& refresh);

/// The graph "check" of a speculative step.
ir::Graph check_speculation(const ir::Graph& update);

}  // namespace bessemer::passes
