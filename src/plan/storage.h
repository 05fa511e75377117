// Which values of a graph share a buffer, and how long each buffer lives.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "ir/graph.h"

namespace bessemer::plan {

/// Where a buffer lives.
enum class Home {
  persistent,  // the catalog's tensor named `name`
  data,        // the data input named `name`
  transient,   // assigned an offset by lifetime
};

struct Buffer {
  Home home = Home::transient;
  std::string name;  // persistent or data: the input's; transient: the first value's
  std::size_t bytes = 0;
  ir::Tier tier = ir::Tier::device;
  int first = -1;  // index of the node that writes it first; -1 for inputs
  int last = -1;  // index of the last node that reads it; the number of nodes where the caller does
  bool is_result = false;
};

/// A copy after the last node, done in the order of Storage::copies: of a write whose value could
/// not be computed in its home, or of an old content that a later copy replaces and another needs.
struct FinalCopy {
  int from = 0;      // buffer
  int to = 0;        // buffer
  std::string name;  // of the persistent tensor that is written or set aside
  TensorType type;
};

struct Storage {
  std::vector<int> buffer_of;  // by value; -1 for values nothing makes
  std::vector<Buffer> buffers;
  std::vector<int> buffer_of_output;  // by output of the graph, after the copies; -1 for writes
  std::vector<FinalCopy> copies;
};

/// Views share their operand's buffer, and so does a store into a tensor; a result that an op may
/// compute in place takes over an operand's buffer at its last use; a value that replaces a
/// persistent tensor is computed in that tensor's place where nothing needs the old content any
/// more.
Storage assign_storage(const ir::Graph& graph);

}  // namespace bessemer::plan
