#include "passes/speculate_update.h"

#include "base/error.h"
#include "passes/differentiate.h"
#include "passes/merged_step.h"
#include "passes/update_mode.h"
#include "passes/write_weights.h"

namespace bessemer::passes {
namespace {

using ir::Role;
using ir::ValueId;

}  // namespace

ir::Graph speculate_update(const ir::Graph& accumulate, const ir::Graph& update,
                           const ir::Graph& refresh) {
  Splicer last(last_micro_batch(accumulate));
  const std::vector<ParameterUpdate> updates = parameter_updates(update);
  const TensorType scalar = update.type(updates.front().node->operands[4]);
  const ValueId rate = last.input(Role::data, "learning_rate", scalar);
  const ValueId step = last.input(Role::optimizer, "optimizer.step", {DType::int64, {}});
  const std::string dtype(name_of(scalar.dtype));
  const ValueId one =
      last.insert(0, "fill", {}, {{"shape", Shape{}}, {"dtype", dtype}, {"value", 1.0}}, "clip")[0];
  const ValueId counted = last.insert(0, "count_step", {step, one}, {}, "clip").front();
  last.write(Role::optimizer, next_name("optimizer.step"), counted);
  std::map<std::string, ValueId, std::less<>> updated;
  const Places places = places_after_use(last, refresh);
  for (const auto& [node, name, weight] : updates) {
    const TensorType& type = update.type(node->operands[1]);  // of the gradient and the state
    const ir::Output* gradient = last.graph().find_output(gradient_name(name));
    require(gradient != nullptr, "{} does not make the gradient of {}", accumulate.name(), name);
    const auto results =
        last.insert(weight.empty() ? 0 : places.at(name), node->op,
                    {last.input(Role::parameter, name, update.type(node->operands[0])),
                     gradient->value, last.input(Role::optimizer, "optimizer.m." + name, type),
                     last.input(Role::optimizer, "optimizer.v." + name, type), rate, counted, one},
                    node->attributes, node->label);
    updated[name] = results[0];
    last.write(Role::parameter, next_name(name), results[0]);
    last.write(Role::optimizer, next_name("optimizer.m." + name), results[1]);
    last.write(Role::optimizer, next_name("optimizer.v." + name), results[2]);
    if (!weight.empty()) last.write(Role::weight, weight, results[3]);
  }
  insert_refresh(last, rest_of_refresh(refresh, update), updated);
  insert_norm(last, update);
  return last.finish();
}

ir::Graph check_speculation(const ir::Graph& update) { return verdict(update, "check"); }

}  // namespace bessemer::passes
