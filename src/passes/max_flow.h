// Maximum flow and minimum cut in a small directed network: Dinic, "Algorithm for solution of a
// problem of maximum flow in networks with power estimation", 1970. O(V²E).
#pragma once

#include <cstdint>
#include <vector>

namespace bessemer::passes {

class FlowNetwork {
 public:
  /// Larger than any flow that may pass; sums of the finite capacities must stay below it.
  static constexpr std::int64_t kUnlimited = std::int64_t{1} << 60;

  explicit FlowNetwork(int vertices) : edges_of_(static_cast<std::size_t>(vertices)) {}

  int add_vertex() {
    edges_of_.emplace_back();
    return static_cast<int>(edges_of_.size()) - 1;
  }

  /// Capacity of at least 0.
  void add_edge(int from, int to, std::int64_t capacity);

  /// The largest flow from `source` to `sink`. Once: the capacities are used up by it.
  std::int64_t maximum_flow(int source, int sink);

  /// After maximum_flow: the vertices on the source's side of the minimum cut that has the fewest
  /// of them.
  std::vector<bool> source_side(int source) const;

 private:
  struct Edge {
    int to;
    std::int64_t left;  // capacity not used yet
  };

  bool find_levels(int source, int sink);
  std::int64_t push(int vertex, int sink, std::int64_t most);

  std::vector<Edge> edges_;  // each followed by its reverse
  std::vector<std::vector<int>> edges_of_;
  std::vector<int> level_;
  std::vector<std::size_t> next_;  // by vertex: the first edge that may still lead on
};

}  // namespace bessemer::passes
