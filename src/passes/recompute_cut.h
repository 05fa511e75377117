// What to keep of a stretch of forward nodes: for a price of time against memory, exactly the best
// choice, by a minimum cut; over all prices, the frontier between bytes kept and seconds added.
//
// With r(n) = "node n runs again" and a(v) = "backward asks for value v", a choice costs
//
//   bytes of every v with a(v) and not r(node of v)  +  price x seconds of every n with r(n)
//
// where a(v) holds for what backward uses, and r(n) implies a(v) for every operand v of n. Each
// term and each implication is an edge of a network whose minimum cut is the best choice. The same
// closure is behind "min-cut rematerialization" (He and Yu, "Transcending runtime-memory tradeoffs
// in checkpointing by being fusion aware", 2023). The prices at which the choice changes are found
// by bisection between two solutions (Eisner and Severance, "Mathematical techniques for efficient
// record segmentation in large shared databases", 1976), which gives the lower convex hull.
#pragma once

#include <vector>

#include "ir/graph.h"
#include "passes/stash.h"

namespace bessemer::passes {

/// Forward nodes [begin, end) of which `fixed`, where it is one of their results, always stays.
/// What comes from outside the stretch stays too. Of that, `entry` costs its bytes where a choice
/// asks for it and backward does not anyway: the exact value of what backward has in 8 bits.
struct Stretch {
  int begin = 0;
  int end = 0;
  ir::ValueId fixed = ir::kAbsent;
  ir::ValueId entry = ir::kAbsent;  // `fixed` of the stretch before
};

/// One choice for a stretch.
struct CutOption {
  std::vector<ir::ValueId> kept;  // of the stretch's candidates, without `fixed`
  double bytes = 0;               // of these, and of `entry` where that is asked for
  double seconds = 0;
};

/// The cheapest choice by bytes x byte_price + seconds x second_price (both at least 0, not both
/// 0); of equal ones the one that recomputes least. `seconds` by node of the graph.
CutOption cheapest_cut(const ir::Graph& ordered, const Stash& stash, const Stretch& stretch,
                       const std::vector<double>& seconds, double byte_price, double second_price);

/// The convex frontier, from everything kept (0 seconds) to the fewest bytes: bytes fall and
/// seconds grow strictly.
std::vector<CutOption> cut_frontier(const ir::Graph& ordered, const Stash& stash,
                                    const Stretch& stretch, const std::vector<double>& seconds);

}  // namespace bessemer::passes
