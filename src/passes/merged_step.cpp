#include "passes/merged_step.h"

#include <algorithm>

#include "base/error.h"
#include "ops/builder.h"
#include "passes/sum_losses.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

std::size_t index(ValueId value) { return static_cast<std::size_t>(value); }

const ir::Node& node_of(const ir::Graph& graph, std::string_view op) {
  const auto at = std::find_if(graph.nodes().begin(), graph.nodes().end(),
                               [&](const ir::Node& node) { return node.op == op; });
  require(at != graph.nodes().end(), "graph {} has no {}", graph.name(), op);
  return *at;
}

const ir::Input& input_of(const ir::Graph& graph, ValueId value) {
  const auto at = std::find_if(graph.inputs().begin(), graph.inputs().end(),
                               [&](const ir::Input& input) { return input.value == value; });
  require(at != graph.inputs().end(), "%{} is no input of graph {}", graph.value(value).name,
          graph.name());
  return *at;
}

// By weight that `refresh` writes: the parameters it derives from.
std::map<std::string, std::vector<std::string>> origins_of_weights(const ir::Graph& refresh) {
  std::vector<std::vector<std::string>> origins(refresh.values().size());
  for (const ir::Input& input : refresh.inputs()) {
    if (input.role == ir::Role::parameter) origins[index(input.value)] = {input.name};
  }
  for (const ir::Node& node : refresh.nodes()) {
    for (const ValueId operand : node.operands) {
      if (operand == kAbsent) continue;
      for (const ValueId result : node.results) {
        const auto& from = origins[index(operand)];
        origins[index(result)].insert(origins[index(result)].end(), from.begin(), from.end());
      }
    }
  }
  std::map<std::string, std::vector<std::string>> of_weights;
  for (const ir::Output& output : refresh.outputs()) {
    of_weights[output.name] = origins[index(output.value)];
  }
  return of_weights;
}

int place_after(const Splicer& last, std::string_view input) {
  const ir::Input* there = last.graph().find_input(input);
  return there == nullptr ? 0 : last.after_last_use(there->value);
}

}  // namespace

ir::Graph last_micro_batch(const ir::Graph& accumulate) {
  ir::Graph last = accumulate;
  last.set_name("accumulate_last");
  return last;
}

void insert_norm(Splicer& last, const ir::Graph& update) {
  const ir::Node& norm = node_of(update, "global_norm");
  std::vector<ValueId> sums;
  for (const ValueId gradient : norm.operands) {
    const ir::Output* made = last.graph().find_output(input_of(update, gradient).name);
    require(made != nullptr, "%{} is not made in {}", update.value(gradient).name,
            last.graph().name());
    sums.push_back(last.insert(0, "sum_of_squares", {made->value}, {}, "norm").front());
  }
  const std::string dtype(name_of(update.type(norm.results[0]).dtype));
  last.write(ir::Role::gradient, kStepNorm,
             last.insert(0, "norm_of_sums", std::move(sums), {{"dtype", dtype}}, "norm")[0]);
}

Places places_after_use(const Splicer& last, const ir::Graph& refresh) {
  Places places;
  for (const ir::Input& input : last.graph().inputs()) {
    if (input.role == ir::Role::parameter) places[input.name] = last.after_last_use(input.value);
  }
  for (const auto& [weight, parameters] : origins_of_weights(refresh)) {
    for (const std::string& parameter : parameters) {
      places[parameter] = std::max(places[parameter], place_after(last, weight));
    }
  }
  return places;
}

void insert_refresh(Splicer& last, const ir::Graph& refresh,
                    const std::map<std::string, ValueId, std::less<>>& updated) {
  std::vector<int> earliest(refresh.values().size(), 0);
  for (const auto& [weight, parameters] : origins_of_weights(refresh)) {
    int& place = earliest[index(refresh.find_output(weight)->value)];
    place = std::max(place, place_after(last, weight));
    // An embedding reads the rounded copy of a table that is away: passes/offload.h.
    for (const std::string& parameter : parameters) {
      place = std::max(place, place_after(last, parameter));
    }
  }
  std::vector<ValueId> map(refresh.values().size(), kAbsent);
  for (const ir::Input& input : refresh.inputs()) {
    if (input.role == ir::Role::parameter) map[index(input.value)] = updated.at(input.name);
  }
  for (const ir::Node& node : refresh.nodes()) {
    std::vector<ValueId> operands;
    int place = 0;
    for (const ValueId o : node.operands) {
      operands.push_back(o == kAbsent ? kAbsent : map[index(o)]);
    }
    for (const ValueId result : node.results) place = std::max(place, earliest[index(result)]);
    const auto results = last.insert(place, node.op, operands, node.attributes, node.label);
    for (std::size_t i = 0; i < results.size(); ++i) map[index(node.results[i])] = results[i];
  }
  for (const ir::Output& output : refresh.outputs()) {
    last.write(ir::Role::weight, output.name, map[index(output.value)]);
  }
}

std::vector<ParameterUpdate> parameter_updates(const ir::Graph& update) {
  std::vector<ParameterUpdate> updates;
  for (const ir::Node& node : update.nodes()) {
    if (node.op != "adamw_update") continue;
    std::string weight;
    for (const ir::Output& output : update.outputs()) {
      if (node.results.size() > 3 && output.value == node.results[3]) weight = output.name;
    }
    updates.push_back({&node, input_of(update, node.operands[0]).name, weight});
  }
  return updates;
}

ir::Graph verdict(const ir::Graph& update, std::string name) {
  ir::Graph graph(std::move(name));
  const ir::Node& clip = node_of(update, "clip_coefficient");
  const TensorType scalar = update.type(clip.operands[0]);
  const MeanLoss loss = add_mean_loss(graph, scalar.dtype);
  ops::Builder builder(graph);
  builder.set_label("clip");
  const ValueId norm = graph.add_input(ir::Role::gradient, kStepNorm, scalar);
  graph.add_result("loss", loss.exact);
  graph.add_result("gradient_norm", norm);
  graph.add_result("coefficient", builder.add(clip.op, {norm, loss.rounded}, clip.attributes));
  return graph;
}

}  // namespace bessemer::passes
