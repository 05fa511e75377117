// write_weights: the update writes what it rounds. Where a weight is a parameter in fewer bits, a
// cast of it and nothing else, adamw_update gives it beside the new parameter, which it has in its
// registers: the parameters are not read again for it, over a slow link where they lie off the
// device. The bits are those of the refresh.
//
// Must run on the finished update and refresh graphs, before delay_update and speculate_update,
// which move the nodes of both into another graph.
#pragma once

#include "ir/graph.h"

namespace bessemer::passes {

/// The update of a step, which also writes those weights of `refresh` that it can.
ir::Graph write_weights(ir::Graph update, const ir::Graph& refresh);

/// "refresh_rest": what is left of `refresh` after such an update; without nodes where all is
/// written. `refresh` itself stays for parameters that were set from outside.
ir::Graph rest_of_refresh(ir::Graph refresh, const ir::Graph& update);

}  // namespace bessemer::passes
