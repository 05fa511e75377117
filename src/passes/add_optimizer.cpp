#include "passes/add_optimizer.h"

#include "base/error.h"
#include "ops/builder.h"
#include "passes/collect_amax.h"
#include "passes/differentiate.h"
#include "passes/set_fp8.h"
#include "passes/sum_losses.h"

namespace bessemer::passes {
namespace {

constexpr std::int64_t kAmaxSteps = 16;  // that delayed scaling looks back

struct Trained {
  std::string name;
  ir::ValueId parameter;
  ir::ValueId gradient;
};

std::vector<Trained> add_inputs(const ir::Graph& source, ir::Graph& update) {
  std::vector<Trained> all;
  for (const ir::Input& input : source.inputs()) {
    if (input.role != ir::Role::parameter) continue;
    const std::string gradient = gradient_name(input.name);
    require(source.find_input(gradient) != nullptr, "parameter {} has no gradient", input.name);
    const TensorType of_gradient = source.type(source.find_input(gradient)->value);
    all.push_back({input.name,
                   update.add_input(ir::Role::parameter, input.name, source.type(input.value)),
                   update.add_input(ir::Role::gradient, gradient, of_gradient)});
  }
  return all;
}

// What tensors reached in this step, where delayed scaling wants it; else absent.
ir::ValueId add_collected_amax(const ir::Graph& source, ir::Graph& update) {
  const ir::Input* known = source.find_input(kFp8Amax);
  if (known == nullptr) return ir::kAbsent;
  return update.add_input(ir::Role::gradient, kStepAmax, source.type(known->value));
}

void add_amax_history(ir::Graph& update, ir::ValueId collected, ir::ValueId coefficient) {
  const TensorType type = update.type(collected);
  ops::Builder builder(update);
  builder.set_label("fp8");
  const ir::ValueId before = update.add_input(ir::Role::optimizer, "fp8.amax_history",
                                              {type.dtype, {kAmaxSteps, type.dim(0)}});
  update.add_input(ir::Role::optimizer, kFp8Amax, type);
  const auto results = builder.all("amax_history", {before, collected, coefficient});
  update.add_write("fp8.amax_history", results[0]);
  update.add_write(kFp8Amax, results[1]);
}

}  // namespace

ir::Graph add_optimizer(const ir::Graph& differentiated, const OptimizerOptions& options) {
  using ir::Role;
  ir::Graph update("update");
  ops::Builder builder(update);
  const std::vector<Trained> trained = add_inputs(differentiated, update);
  require(!trained.empty(), "graph {} has no parameters to update", differentiated.name());
  const TensorType scalar{update.type(trained.front().gradient).dtype, {}};
  const ir::ValueId learning_rate = update.add_input(Role::data, "learning_rate", scalar);
  const ir::ValueId step = update.add_input(Role::optimizer, "optimizer.step", {DType::int64, {}});

  const MeanLoss loss = add_mean_loss(update, scalar.dtype);
  builder.set_label("clip");
  std::vector<ir::ValueId> gradients;
  for (const Trained& one : trained) gradients.push_back(one.gradient);
  const ir::ValueId norm = builder.add("global_norm", gradients);
  const ir::ValueId amaxes = add_collected_amax(differentiated, update);
  const ir::ValueId coefficient = builder.add("clip_coefficient", {norm, loss.rounded, amaxes},
                                              {{"max_norm", options.gradient_clip}});
  const ir::ValueId next_step = builder.add("count_step", {step, coefficient});
  update.add_write("optimizer.step", next_step);

  std::int64_t site = 0;  // where a step draws random bits
  for (const Trained& one : trained) {
    builder.set_label(one.name);
    const TensorType type = update.type(one.gradient);
    const ir::ValueId m = update.add_input(Role::optimizer, "optimizer.m." + one.name, type);
    const ir::ValueId v = update.add_input(Role::optimizer, "optimizer.v." + one.name, type);
    Attributes attributes{{"beta1", options.beta1},
                          {"beta2", options.beta2},
                          {"epsilon", options.epsilon},
                          {"weight_decay", type.rank() >= 2 ? options.weight_decay : 0.0}};
    if (update.type(one.parameter).dtype == DType::bf16) {
      attributes.set("seed", options.seed);
      attributes.set("site", ++site);
    }
    const auto updated = builder.all(
        "adamw_update", {one.parameter, one.gradient, m, v, learning_rate, next_step, coefficient},
        std::move(attributes));
    update.add_write(one.name, updated[0]);
    update.add_write("optimizer.m." + one.name, updated[1]);
    update.add_write("optimizer.v." + one.name, updated[2]);
  }
  if (amaxes != ir::kAbsent) add_amax_history(update, amaxes, coefficient);
  update.add_result("loss", loss.exact);
  update.add_result("gradient_norm", norm);
  update.add_result("coefficient", coefficient);
  return update;
}

}  // namespace bessemer::passes
