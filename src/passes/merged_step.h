// What delay_update and speculate_update share: the parts of a step's end that move into the graph
// of its last micro-batch. Both keep every number of the parts.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "passes/splice.h"

namespace bessemer::passes {

/// "accumulate_last" where `accumulate` is the graph of a step's last micro-batch.
ir::Graph last_micro_batch(const ir::Graph& accumulate);

/// Where the norm of a step's gradients lies between its last micro-batch and its verdict.
inline constexpr const char* kStepNorm = "step.gradient_norm";

/// Writes that norm, from partial sums, each taken when its gradient is made: no gradient has
/// to be read again. Bit-equal to the `global_norm` of `update`.
void insert_norm(Splicer& last, const ir::Graph& update);

/// For each parameter: the place after all that reads it or what `refresh` derives from it.
using Places = std::map<std::string, int, std::less<>>;
Places places_after_use(const Splicer& last, const ir::Graph& refresh);

/// The nodes of `refresh` on the parameters' new values, by parameter, each weight after its last
/// use.
void insert_refresh(Splicer& last, const ir::Graph& refresh,
                    const std::map<std::string, ir::ValueId, std::less<>>& updated);

/// An `adamw_update` of the update graph, with what it writes as that graph names it.
struct ParameterUpdate {
  const ir::Node* node = nullptr;
  std::string parameter;
  std::string weight;  // its copy in fewer bits; empty where the update makes none
};
std::vector<ParameterUpdate> parameter_updates(const ir::Graph& update);

/// The verdict on a step whose gradients' norm is known: data "loss_scale", results "loss",
/// "gradient_norm" and "coefficient", as `update` makes them.
ir::Graph verdict(const ir::Graph& update, std::string name);

}  // namespace bessemer::passes
