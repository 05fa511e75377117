#include "passes/pipeline.h"

#include "base/error.h"
#include "passes/differentiate.h"
#include "passes/fuse.h"
#include "passes/fuse_quantization.h"
#include "passes/hoist_weights.h"
#include "passes/order.h"
#include "passes/set_fp8.h"
#include "passes/sum_losses.h"

namespace bessemer::passes {
namespace {

ir::Graph in_fp8(ir::Graph graph, Recipe recipe) {
  switch (recipe) {
    case Recipe::fp32:
    case Recipe::tf32:
    case Recipe::bf16: return graph;
    case Recipe::fp8_current: return set_fp8(std::move(graph), Fp8Scaling::current);
    case Recipe::fp8_delayed: return set_fp8(std::move(graph), Fp8Scaling::delayed);
    case Recipe::fp8_block: return set_fp8(std::move(graph), Fp8Scaling::block);
  }
  fail("unknown recipe {}", static_cast<int>(recipe));
}

// What every graph goes through once its nodes are there. `refresh` collects what is hoisted.
std::vector<Pass> lowering(Precision precision, ir::Graph& refresh,
                           kernels::Backend device = kernels::Backend::cpu) {
  std::vector<Pass> passes{
      {"set_precision",
       [precision](ir::Graph g) { return set_precision(std::move(g), precision); }},
      {"set_fp8", [precision](ir::Graph g) { return in_fp8(std::move(g), precision.recipe); }},
      {"hoist_weights",
       [&refresh](ir::Graph g) {
         Hoisted hoisted = hoist_weights(std::move(g));
         refresh = merge_refresh(std::move(refresh), hoisted.refresh);
         return std::move(hoisted.graph);
       }},
      {"fuse_loss", fuse_loss},
      {"fuse_activations", fuse_activations},
  };
  if (device == kernels::Backend::cuda) {
    passes.push_back({"fuse_activation_gradients", fuse_activation_gradients});
    passes.push_back({"fuse_quantization", fuse_quantization});
    passes.push_back({"fuse_bias_gradients", fuse_bias_gradients});
  }
  passes.push_back({"fuse_addends", fuse_addends});
  if (device == kernels::Backend::cuda) passes.push_back({"fuse_amax", fuse_amax});
  passes.push_back({"fuse_elementwise", fuse_elementwise});
  passes.push_back({"order", order});
  return passes;
}

ir::Graph compile_accumulate(ir::Graph graph, std::string name, GradientMode mode,
                             const StepOptions& options, ir::Graph& refresh, Runner& runner) {
  graph.set_name(std::move(name));
  std::vector<Pass> passes{
      {"differentiate", [mode](ir::Graph g) { return differentiate(std::move(g), mode); }}};
  for (Pass& pass : lowering(options.precision, refresh, options.device)) {
    passes.push_back(std::move(pass));
  }
  if (options.stash == StashFormat::int8) passes.push_back({"compress_stash", compress_stash});
  passes.push_back({"recompute", [policy = options.recompute](ir::Graph g) {
                      return recompute(std::move(g), policy);
                    }});
  passes.push_back({"sum_losses", [mode](ir::Graph g) { return sum_losses(std::move(g), mode); }});
  return runner.run(std::move(graph), passes);
}

}  // namespace

StepGraphs compile_step(const ir::Graph& training, const std::optional<ir::Graph>& evaluation,
                        const StepOptions& options, Runner& runner) {
  StepGraphs graphs;
  ir::Graph refresh("refresh");
  graphs.accumulate_first = compile_accumulate(training, "accumulate_first",
                                               GradientMode::overwrite, options, refresh, runner);
  if (options.accumulates) {
    graphs.accumulate = compile_accumulate(training, "accumulate", GradientMode::accumulate,
                                           options, refresh, runner);
  }
  graphs.update = runner.run(
      graphs.accumulate_first,
      {{"add_optimizer", [&](const ir::Graph& g) { return add_optimizer(g, options.optimizer); }}});
  if (evaluation) {
    ir::Graph graph = *evaluation;
    graph.set_name("evaluate");
    graphs.evaluate = runner.run(std::move(graph), lowering(options.precision, refresh));
  }
  graphs.refresh = std::move(refresh);
  return graphs;
}

ForwardGraphs compile_forward(const ir::Graph& forward, Precision precision, Runner& runner) {
  ir::Graph refresh("refresh");
  ir::Graph graph = runner.run(forward, lowering(precision, refresh));
  return {std::move(refresh), std::move(graph)};
}

std::vector<std::string> pass_names() {
  ir::Graph refresh("refresh");
  std::vector<std::string> names{"differentiate"};
  for (const Pass& pass : lowering(Recipe::fp32, refresh, kernels::Backend::cuda))
    names.push_back(pass.name);
  names.emplace_back("compress_stash");
  names.emplace_back("recompute");
  names.emplace_back("sum_losses");
  names.emplace_back("add_optimizer");
  names.emplace_back("collect_amax");
  names.emplace_back("write_weights");
  names.emplace_back("early_norm");
  names.emplace_back("delay_update");
  names.emplace_back("speculate_update");
  names.emplace_back("offload");
  names.emplace_back("join_adds");
  names.emplace_back("join_updates");
  return names;
}

}  // namespace bessemer::passes
