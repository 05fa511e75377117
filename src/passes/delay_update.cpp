#include "passes/delay_update.h"

#include <algorithm>

#include "cost/node_seconds.h"
#include "ops/builder.h"
#include "passes/differentiate.h"
#include "passes/merged_step.h"
#include "passes/update_mode.h"
#include "passes/write_weights.h"

namespace bessemer::passes {
namespace {

using ir::Role;
using ir::ValueId;

constexpr const char* kStep = "optimizer.step";
constexpr const char* kCoefficient = "optimizer.coefficient";
constexpr const char* kLearningRate = "optimizer.learning_rate";

// The place that a share of the graph's arithmetic stands before, for shares from 0 to 1.
class Clock {
 public:
  Clock(const ir::Graph& graph, const cost::MachineDescription& machine) {
    for (const ir::Node& node : graph.nodes()) {
      starts_.push_back(now_);
      now_ += cost::node_seconds(graph, node, machine);
    }
  }

  int place(double share) const {
    const auto at = std::lower_bound(starts_.begin(), starts_.end(), share * now_);
    return static_cast<int>(at - starts_.begin());
  }

 private:
  std::vector<double> starts_;
  double now_ = 0;
};

// In the order in which the step is done with the parameters and what derives from them.
std::vector<ParameterUpdate> by_last_use(const ir::Graph& update, const Places& places) {
  std::vector<ParameterUpdate> updates = parameter_updates(update);
  std::stable_sort(updates.begin(), updates.end(), [&](const auto& a, const auto& b) {
    return places.at(a.parameter) < places.at(b.parameter);
  });
  return updates;
}

}  // namespace

ir::Graph delay_update(const ir::Graph& accumulate, const ir::Graph& update,
                       const ir::Graph& refresh, const cost::MachineDescription& machine) {
  Splicer last(last_micro_batch(accumulate));
  const Clock clock(accumulate, machine);
  const Places places = places_after_use(last, refresh);
  const std::vector<ParameterUpdate> updates = by_last_use(update, places);
  double elements = 0, before = 0;
  for (const ParameterUpdate& one : updates) {
    elements += static_cast<double>(update.type(one.node->operands[0]).elements());
  }
  const TensorType scalar = update.type(updates.front().node->operands[4]);
  const ValueId rate = last.input(Role::optimizer, kLearningRate, scalar);
  const ValueId step = last.input(Role::optimizer, kStep, {DType::int64, {}});
  const ValueId coefficient = last.input(Role::optimizer, kCoefficient, scalar);
  std::map<std::string, ValueId, std::less<>> updated;
  for (const auto& [node, name, weight] : updates) {
    const TensorType& type = update.type(node->operands[1]);  // of the gradient and the state
    const ValueId parameter = last.input(Role::parameter, name, update.type(node->operands[0]));
    const int place = std::max(clock.place(before / elements), places.at(name));
    before += static_cast<double>(type.elements());
    const auto results = last.insert(
        place, node->op,
        {parameter, last.input(Role::gradient, pending_name(name), type),
         last.input(Role::optimizer, "optimizer.m." + name, type),
         last.input(Role::optimizer, "optimizer.v." + name, type), rate, step, coefficient},
        node->attributes, node->label);
    updated[name] = results[0];
    last.write(Role::parameter, name, results[0]);
    last.write(Role::optimizer, "optimizer.m." + name, results[1]);
    last.write(Role::optimizer, "optimizer.v." + name, results[2]);
    if (!weight.empty()) last.write(Role::weight, weight, results[3]);
  }
  insert_refresh(last, rest_of_refresh(refresh, update), updated);
  insert_norm(last, update);
  return last.finish();
}

ir::Graph keep_for_next_step(const ir::Graph& update) {
  ir::Graph graph = verdict(update, "update");
  ops::Builder builder(graph);
  builder.set_label("clip");
  const ValueId coefficient = graph.find_output("coefficient")->value;
  const TensorType scalar = graph.type(coefficient);
  const ValueId rate = graph.add_input(Role::data, "learning_rate", scalar);
  const ValueId step = graph.add_input(Role::optimizer, kStep, {DType::int64, {}});
  const ValueId counted = builder.add("count_step", {step, coefficient});
  graph.add_input(Role::optimizer, kCoefficient, scalar);
  graph.add_input(Role::optimizer, kLearningRate, scalar);
  graph.add_write(kStep, counted);
  graph.add_write(kCoefficient, coefficient);
  graph.add_write(kLearningRate, rate);
  return graph;
}

}  // namespace bessemer::passes
