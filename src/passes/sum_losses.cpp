#include "passes/sum_losses.h"

#include "base/error.h"
#include "ops/builder.h"
#include "passes/splice.h"

namespace bessemer::passes {
namespace {

const TensorType kSum{DType::fp64, {}};

}  // namespace

ir::Graph sum_losses(ir::Graph graph, GradientMode mode) {
  const ir::Output* loss = graph.find_output("loss");
  require(loss != nullptr, "graph {} has no loss", graph.name());
  std::vector<ir::ValueId> operands{loss->value};
  Splicer splicer(std::move(graph));
  if (mode == GradientMode::accumulate) {
    operands.push_back(splicer.input(ir::Role::gradient, kStepLoss, kSum));
  }
  const ir::ValueId sum = splicer.insert(0, "add_loss", std::move(operands), {}, "loss").front();
  splicer.write(ir::Role::gradient, kStepLoss, sum);
  return splicer.finish();
}

MeanLoss add_mean_loss(ir::Graph& graph, DType dtype) {
  ops::Builder builder(graph);
  builder.set_label("loss");
  const ir::ValueId sum = graph.add_input(ir::Role::gradient, kStepLoss, kSum);
  const ir::ValueId scale = graph.add_input(ir::Role::data, "loss_scale", kSum);
  const auto means =
      builder.all("mean_loss", {sum, scale}, {{"dtype", std::string(name_of(dtype))}});
  return {means[0], means[1]};
}

}  // namespace bessemer::passes
