// Runs a whole graph without a plan: one buffer per value, node after node. What planned execution
// is compared with.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/text.h"
#include "ops/op.h"
#include "support/kernel_runner.h"

namespace bessemer::testing {

using NamedTensors = std::map<std::string, Tensor>;

enum class KernelChoice {
  reference,       // the reference of every op
  first_accepting  // the processor's first that does not decline, as a plan chooses
};

/// Results of one node on `operands`.
inline std::vector<Tensor> run_node(const ir::Graph& graph, const ir::Node& node,
                                    const Operands& operands, KernelChoice choice) {
  const ops::OpDefinition& op = ops::definition_of(node.op);
  std::vector<TensorType> types;
  for (const ir::ValueId result : node.results) types.push_back(graph.type(result));
  std::span<const kernels::KernelCandidate> candidates = op.candidates;
  if (choice == KernelChoice::reference) candidates = candidates.last(1);
  for (const kernels::KernelCandidate& candidate : candidates) {
    if (candidate.backend != kernels::Backend::cpu) continue;
    KernelRun run = run_kernel(candidate.prepare, operands, types, node.attributes);
    if (!run.declined) return std::move(run.results);
  }
  fail("{}: every kernel declined", ir::print_node(graph, node));
}

/// The outputs of `graph` by name, written states among them. `inputs` by dotted name; Error where
/// one is missing or has another type than the graph says.
inline NamedTensors run_graph(const ir::Graph& graph, const NamedTensors& inputs,
                              KernelChoice choice = KernelChoice::reference) {
  Operands values(graph.values().size());
  for (const ir::Input& input : graph.inputs()) {
    const auto at = inputs.find(input.name);
    require(at != inputs.end(), "input \"{}\" is missing", input.name);
    require(at->second.type() == graph.type(input.value), "input \"{}\" is {}, expected {}",
            input.name, to_string(at->second.type()), to_string(graph.type(input.value)));
    values[static_cast<std::size_t>(input.value)] = at->second;
  }
  for (const ir::Node& node : graph.nodes()) {
    Operands operands;
    for (const ir::ValueId id : node.operands) {
      operands.push_back(id == ir::kAbsent ? std::nullopt : values[static_cast<std::size_t>(id)]);
    }
    std::vector<Tensor> results = run_node(graph, node, operands, choice);
    for (std::size_t i = 0; i < results.size(); ++i) {
      values[static_cast<std::size_t>(node.results[i])] = std::move(results[i]);
    }
  }
  NamedTensors outputs;
  for (const ir::Output& output : graph.outputs()) {
    outputs.emplace(output.name, values[static_cast<std::size_t>(output.value)].value());
  }
  return outputs;
}

}  // namespace bessemer::testing
