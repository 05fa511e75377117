// The blocks that are still to be placed, and which of them comes first among those that fit a
// stretch of time.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace bessemer::plan {

/// A life in instants, both included.
struct Life {
  int first = 0;
  int last = 0;
};

/// A tree over the blocks in order of their first instant; each node knows the least last instant
/// and the least rank beneath it, by which a query leaves out what cannot be the answer. Instants
/// are 0 to instants − 1. Allocates nothing after construction.
class CandidateTree {
 public:
  CandidateTree(std::span<const Life> lives, int instants);

  /// Takes all blocks in; rank[i] is block i's place in the order, 0 the first.
  void fill(std::span<const int> rank);

  /// The block of least rank that lives within [first, last]; -1 where there is none.
  int find(int first, int last);

  void remove(int block);

  /// Nodes that queries have looked at so far: what the work of a packing is measured by.
  std::size_t visited() const { return visited_; }

 private:
  struct Node {
    int last = 0;
    int rank = 0;
    bool operator==(const Node&) const = default;
  };
  struct Query {
    int begin = 0, end = 0;  // leaves
    int last = 0;
    int rank = 0, leaf = 0;  // the best so far
  };
  static Node least(const Node& a, const Node& b);
  void search(int node, int begin, int end);

  std::vector<Life> lives_;
  std::vector<int> block_of_leaf_;
  std::vector<int> leaf_of_block_;
  std::vector<int> first_leaf_;  // by instant: of the blocks that begin then or later
  std::vector<Node> nodes_;      // 1 the root, 2n and 2n + 1 under n, leaves from leaves_ on
  int leaves_ = 1;               // a power of two
  Query query_;
  std::size_t visited_ = 0;
};

}  // namespace bessemer::plan
