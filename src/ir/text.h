// Graphs as text. print and parse are inverse: parse(print(g)) prints the same text, and a graph
// written by hand prints in canonical form. Grammar, one item a line:
//
//   graph NAME
//   ROLE %value: TYPE PLACEMENT? TIER? "dotted.name"
//   %a: TYPE PLACEMENT? TIER?, %b: TYPE = op(%x, _, %y) {key=value, ...}   # label
//   return "name" %value
//   write "dotted.name" %value
//
// TYPE is dtype[sizes] ("bf16[4,256,768]", "fp32[]"), TIER is "@host" or "@file" (none: device),
// `_` is an absent optional operand. Blank lines and lines that start with '#' are skipped.
#pragma once

#include <string>
#include <string_view>

#include "ir/graph.h"

namespace bessemer::ir {

std::string print(const Graph& graph);

/// One node as it stands in the text, without the line's end.
std::string print_node(const Graph& graph, const Node& node);

/// InputError with "line N: ..." for anything that is not a graph. Survives any bytes.
Graph parse(std::string_view text);

}  // namespace bessemer::ir
