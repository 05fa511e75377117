#include "passes/offload.h"

#include "passes/offload_rewrite.h"
#include "passes/schedule_fetches.h"
#include "passes/tile_weights.h"
#include "passes/update_mode.h"

namespace bessemer::passes {
namespace {

ir::Tier tier_of(const ir::Input& input, bool has_copy, const OffloadOptions& options) {
  switch (input.role) {
    case ir::Role::optimizer: return options.optimizer;
    case ir::Role::gradient: return options.gradients;
    case ir::Role::parameter: return has_copy ? options.optimizer : options.parameters;
    case ir::Role::weight: return options.parameters;
    case ir::Role::cache:
    case ir::Role::data: return ir::Tier::device;
  }
  return ir::Tier::device;
}

// A refresh graph writes weights and nothing else.
bool refreshes(const ir::Graph& graph) {
  bool weights = false;
  for (const ir::Output& output : graph.outputs()) {
    if (output.kind != ir::Output::Kind::write) continue;
    if (graph.find_input(output.name)->role != ir::Role::weight) return false;
    weights = true;
  }
  return weights;
}

// Parameters that a refresh graph makes weights of: arithmetic uses those instead.
std::map<std::string_view, bool> parameters_with_copies(std::span<const ir::Graph* const> graphs) {
  std::map<std::string_view, bool> copied;
  for (const ir::Graph* graph : graphs) {
    if (!refreshes(*graph)) continue;
    for (const ir::Input& input : graph->inputs()) {
      if (input.role == ir::Role::parameter) copied[input.name] = true;
    }
  }
  return copied;
}

}  // namespace

TierMap choose_tiers(std::span<const ir::Graph* const> graphs, const OffloadOptions& options) {
  const auto copied = parameters_with_copies(graphs);
  TierMap tiers;
  for (const ir::Graph* graph : graphs) {
    for (const ir::Input& input : graph->inputs()) {
      const TensorType& type = graph->type(input.value);
      if (type.rank() == 0 || type.bytes() < options.smallest) continue;
      const std::string_view name = without_next(input.name);  // both places lie in one tier
      if (options.stays && options.stays(name)) continue;
      const ir::Tier tier = tier_of(input, copied.contains(name), options);
      if (tier != ir::Tier::device) tiers.emplace(input.name, tier);
    }
  }
  return tiers;
}

ir::Graph offload(ir::Graph graph, const TierMap& tiers, const OffloadOptions& options,
                  const cost::MachineDescription& machine) {
  graph = tile_weights(std::move(graph), tiers, options, machine);
  return schedule_fetches(rewrite_for_tiers(graph, tiers, options, machine), options.fetched_ahead,
                          machine);
}

}  // namespace bessemer::passes
