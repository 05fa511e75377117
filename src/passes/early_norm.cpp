#include "passes/early_norm.h"

#include <algorithm>

#include "base/error.h"
#include "passes/merged_step.h"
#include "passes/rewrite.h"

namespace bessemer::passes {

ir::Graph early_norm(const ir::Graph& accumulate, const ir::Graph& update) {
  Splicer last(last_micro_batch(accumulate));
  insert_norm(last, update);
  return last.finish();
}

ir::Graph update_after_norm(ir::Graph update) {
  std::vector<ir::Node>& nodes = update.nodes();
  const auto norm = std::find_if(nodes.begin(), nodes.end(),
                                 [](const ir::Node& node) { return node.op == "global_norm"; });
  require(norm != nodes.end(), "graph {} takes no norm", update.name());
  const ir::ValueId taken = norm->results[0];
  nodes.erase(norm);
  const TensorType type = update.type(taken);
  replace_uses(update, taken, update.add_input(ir::Role::gradient, kStepNorm, type));
  return update;
}

}  // namespace bessemer::passes
