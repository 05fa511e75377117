// delay_update: a step's gradients are applied while the next step computes its own (ZeRO-Offload's
// delayed parameter update, Ren et al., 2021).
//
// Reference semantics. Let g(t) be the gradients of step t, n(t) their norm, l(t) the loss, r(t)
// the learning rate of step t and c(t) the clip coefficient of n(t) and l(t), NaN where one of them
// is not finite. Step t computes g(t) at the parameters theta(t), and
//
//   theta(t+1) = AdamW(theta(t), g(t-1), r(t-1), c(t-1), k(t-1)),    theta(2) = theta(1)
//
// with k(t) the number of steps up to t with a finite c. Where c(t-1) is NaN nothing changes. So
// each gradient meets exactly what it would meet in a synchronous run, learning rate and count
// included, but one step later; the only difference is where g(t) is taken. What a run leaves
// behind after its last step t is theta(t+1) and, pending, g(t): checkpoints hold both, so that a
// resumed run is the uninterrupted one, and neither checkpoints nor evaluation change the
// trajectory.
//
// Must run after order and recompute (it chooses places) and before offload (which moves what it
// brings in).
//
//   accumulate_last  the graph of the last micro-batch; in it AdamW of g(t-1), spread evenly over
//                    its arithmetic, each parameter's after the last use of the old value, and the
//                    refreshed weights; n(t) is written to "step.gradient_norm"
//   update           data "loss_scale", "learning_rate"; keeps what g(t) will meet in
//                    "optimizer.coefficient", "optimizer.learning_rate" and "optimizer.step"
//   then             every "gradient.P" changes places with "pending.P"
//
// Before the first step "optimizer.coefficient" must be NaN: nothing is pending. `update` with a
// loss_scale of NaN makes it so.
#pragma once

#include "cost/machine.h"
#include "ir/graph.h"

namespace bessemer::passes {

/// `accumulate`: of the last micro-batch. `update`: of the synchronous step, with the
/// weights that it writes. `refresh`: makes them all.
ir::Graph delay_update(const ir::Graph& accumulate, const ir::Graph& update,
                       const ir::Graph& refresh, const cost::MachineDescription& machine);

/// The graph "update" of a delayed step.
ir::Graph keep_for_next_step(const ir::Graph& update);

}  // namespace bessemer::passes
