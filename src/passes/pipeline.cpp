#include "passes/pipeline.h"

#include "passes/differentiate.h"
#include "passes/fuse.h"
#include "passes/hoist_weights.h"
#include "passes/order.h"

namespace bessemer::passes {
namespace {

// What every graph goes through once its nodes are there. `refresh` collects what is hoisted.
std::vector<Pass> lowering(Recipe recipe, ir::Graph& refresh) {
  return {
      {"set_precision", [recipe](ir::Graph g) { return set_precision(std::move(g), recipe); }},
      {"hoist_weights",
       [&refresh](ir::Graph g) {
         Hoisted hoisted = hoist_weights(std::move(g));
         refresh = merge_refresh(std::move(refresh), hoisted.refresh);
         return std::move(hoisted.graph);
       }},
      {"fuse_loss", fuse_loss},
      {"fuse_activations", fuse_activations},
      {"fuse_addends", fuse_addends},
      {"fuse_elementwise", fuse_elementwise},
      {"order", order},
  };
}

ir::Graph compile_accumulate(ir::Graph graph, std::string name, GradientMode mode,
                             const StepOptions& options, ir::Graph& refresh, Runner& runner) {
  graph.set_name(std::move(name));
  std::vector<Pass> passes{
      {"differentiate", [mode](ir::Graph g) { return differentiate(std::move(g), mode); }}};
  for (Pass& pass : lowering(options.recipe, refresh)) passes.push_back(std::move(pass));
  if (options.stash == StashFormat::int8) passes.push_back({"compress_stash", compress_stash});
  passes.push_back({"recompute", [policy = options.recompute](ir::Graph g) {
                      return recompute(std::move(g), policy);
                    }});
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
    graphs.evaluate = runner.run(std::move(graph), lowering(options.recipe, refresh));
  }
  graphs.refresh = std::move(refresh);
  return graphs;
}

ForwardGraphs compile_forward(const ir::Graph& forward, Recipe recipe, Runner& runner) {
  ir::Graph refresh("refresh");
  ir::Graph graph = runner.run(forward, lowering(recipe, refresh));
  return {std::move(refresh), std::move(graph)};
}

std::vector<std::string> pass_names() {
  ir::Graph refresh("refresh");
  std::vector<std::string> names{"differentiate"};
  for (const Pass& pass : lowering(Recipe::fp32, refresh)) names.push_back(pass.name);
  names.emplace_back("compress_stash");
  names.emplace_back("recompute");
  names.emplace_back("add_optimizer");
  names.emplace_back("delay_update");
  names.emplace_back("speculate_update");
  names.emplace_back("offload");
  return names;
}

}  // namespace bessemer::passes
