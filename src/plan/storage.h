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
  int first = -1;  // index of the node that writes it first; -1 for inputs
  int last = -1;  // index of the last node that reads it; the number of nodes where the caller does
  bool is_result = false;
};

/// A write whose value could not be computed in its home: copied there at the end.
struct FinalCopy {
  int from = 0;    // buffer
  std::string to;  // persistent name
  TensorType type;
};

struct Storage {
  std::vector<int> buffer_of;  // by value; -1 for values nothing makes
  std::vector<Buffer> buffers;
  std::vector<FinalCopy> copies;
};

/// Views share their operand's buffer; a result that an op may compute in place takes over an
/// operand's buffer at its last use; a value that replaces a persistent tensor is computed in that
/// tensor's place where nothing needs the old content any more.
Storage assign_storage(const ir::Graph& graph);

}  // namespace bessemer::plan
