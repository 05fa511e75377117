#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "ir/text.h"
#include "ops/op.h"
#include "passes/pass.h"

namespace bessemer::passes {

ir::Graph Runner::run(ir::Graph graph, const std::vector<Pass>& passes) {
  using Clock = std::chrono::steady_clock;
  for (const Pass& pass : passes) {
    PassTiming timing{graph.name(), pass.name, 0, graph.nodes().size(), 0};
    const auto start = Clock::now();
    graph = pass.run(std::move(graph));
    timing.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    timing.nodes_after = graph.nodes().size();
    timings_.push_back(timing);
    log::debug("pass {} on {}: {} -> {} nodes, {:.1f} ms", pass.name, graph.name(),
               timing.nodes_before, timing.nodes_after, timing.seconds * 1e3);
    if (options_.verify) {
      try {
        ops::verify(graph);
      } catch (const Error& error) {
        fail("the graph {} is broken after pass {}: {}", graph.name(), pass.name, error.what());
      }
    }
    if (options_.dump_after.contains(pass.name) && options_.dump) {
      options_.dump(pass.name, ir::print(graph));
    }
  }
  return graph;
}

}  // namespace bessemer::passes
