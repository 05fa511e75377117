// Puts nodes into a graph that is in its order of execution, at places of one's choice.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"

namespace bessemer::passes {

class Splicer {
 public:
  explicit Splicer(ir::Graph graph);

  const ir::Graph& graph() const { return graph_; }

  /// Number of the nodes that were there; a place from 0 to it is before the node of that number.
  int end() const { return end_; }

  /// The input of that name, added where there is none.
  ir::ValueId input(ir::Role role, const std::string& name, const TensorType& type);

  /// Place after the last of those nodes that reads the value, or a view of it; 0 where none does.
  int after_last_use(ir::ValueId value) const;

  /// A node at the first place from `earliest` on where its operands are there. Nodes at one place
  /// stand in the order in which they were inserted. Returns its results.
  std::vector<ir::ValueId> insert(int earliest, const std::string& op,
                                  std::vector<ir::ValueId> operands, const Attributes& attributes,
                                  const std::string& label);

  /// Replaces the content of a persistent tensor, which becomes an input if it is none yet.
  void write(ir::Role role, const std::string& name, ir::ValueId value);

  void add_result(const std::string& name, ir::ValueId value) { graph_.add_result(name, value); }

  /// The graph with all nodes in their places; the splicer is done then.
  ir::Graph finish();

 private:
  struct Inserted {
    int place;
    ir::Node node;
  };

  ir::Graph graph_;
  int end_;
  std::vector<int> ready_;           // by value: the first place where it is there
  std::vector<int> after_last_use_;  // by value that was there
  std::vector<Inserted> inserted_;
};

}  // namespace bessemer::passes
