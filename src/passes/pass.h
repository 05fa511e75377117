// A pass takes a graph and returns the next one. The runner below is the only way passes are run:
// it times, verifies, dumps and names every one. The ordered lists stand in pipeline.cpp; why they
// stand in that order, in docs/pass-order.md.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace bessemer::passes {

struct Pass {
  std::string name;
  std::function<ir::Graph(ir::Graph)> run;
};

struct PassTiming {
  std::string graph;
  std::string pass;
  double seconds = 0;
  std::size_t nodes_before = 0;
  std::size_t nodes_after = 0;
};

/// What the runner does around each pass.
struct RunnerOptions {
  bool verify = true;                // ops::verify after every pass
  std::set<std::string> dump_after;  // names of passes whose result is printed
  std::function<void(const std::string& pass, const std::string& text)> dump;
};

class Runner {
 public:
  explicit Runner(RunnerOptions options = {}) : options_(std::move(options)) {}

  /// Runs the passes in order. An Error says after which pass the graph broke.
  ir::Graph run(ir::Graph graph, const std::vector<Pass>& passes);

  const std::vector<PassTiming>& timings() const { return timings_; }

 private:
  RunnerOptions options_;
  std::vector<PassTiming> timings_;
};

}  // namespace bessemer::passes
