#include "passes/max_flow.h"

#include <algorithm>

#include "base/error.h"

namespace bessemer::passes {
namespace {

std::size_t index(int i) { return static_cast<std::size_t>(i); }

}  // namespace

void FlowNetwork::add_edge(int from, int to, std::int64_t capacity) {
  require(capacity >= 0, "an edge with capacity {}", capacity);
  edges_of_[index(from)].push_back(static_cast<int>(edges_.size()));
  edges_.push_back({to, capacity});
  edges_of_[index(to)].push_back(static_cast<int>(edges_.size()));
  edges_.push_back({from, 0});
}

std::int64_t FlowNetwork::maximum_flow(int source, int sink) {
  std::int64_t flow = 0;
  while (find_levels(source, sink)) {
    next_.assign(edges_of_.size(), 0);
    while (const std::int64_t pushed = push(source, sink, kUnlimited)) {
      flow += pushed;
      require(flow < kUnlimited, "the flow has no limit");
    }
  }
  return flow;
}

std::vector<bool> FlowNetwork::source_side(int source) const {
  std::vector<bool> reached(edges_of_.size(), false);
  std::vector<int> open{source};
  reached[index(source)] = true;
  while (!open.empty()) {
    const int vertex = open.back();
    open.pop_back();
    for (const int e : edges_of_[index(vertex)]) {
      const Edge& edge = edges_[index(e)];
      if (edge.left == 0 || reached[index(edge.to)]) continue;
      reached[index(edge.to)] = true;
      open.push_back(edge.to);
    }
  }
  return reached;
}

// Distances from the source over edges with capacity left; true where the sink is reached.
bool FlowNetwork::find_levels(int source, int sink) {
  level_.assign(edges_of_.size(), -1);
  level_[index(source)] = 0;
  std::vector<int> queue{source};
  for (std::size_t i = 0; i < queue.size(); ++i) {
    for (const int e : edges_of_[index(queue[i])]) {
      const Edge& edge = edges_[index(e)];
      if (edge.left == 0 || level_[index(edge.to)] >= 0) continue;
      level_[index(edge.to)] = level_[index(queue[i])] + 1;
      queue.push_back(edge.to);
    }
  }
  return level_[index(sink)] >= 0;
}

std::int64_t FlowNetwork::push(int vertex, int sink, std::int64_t most) {
  if (vertex == sink) return most;
  for (std::size_t& i = next_[index(vertex)]; i < edges_of_[index(vertex)].size(); ++i) {
    const int e = edges_of_[index(vertex)][i];
    const int to = edges_[index(e)].to;
    if (edges_[index(e)].left == 0 || level_[index(to)] != level_[index(vertex)] + 1) continue;
    const std::int64_t pushed = push(to, sink, std::min(most, edges_[index(e)].left));
    if (pushed == 0) continue;
    edges_[index(e)].left -= pushed;
    edges_[index(e ^ 1)].left += pushed;
    return pushed;
  }
  return 0;
}

}  // namespace bessemer::passes
