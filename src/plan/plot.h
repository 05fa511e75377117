// The picture of `bessemer plan --plot`: memory over a step, by category, as SVG.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "plan/timeline.h"

namespace bessemer::plan {

/// Stacked areas over the instructions of the timeline, the largest sum marked with its place and
/// bytes, a line at the arena's size, a legend with the bytes of each category at the peak, axes in
/// bytes and instructions. Each area is a polygon with the attribute data-category. The timeline
/// must not be empty.
std::string memory_svg(const std::vector<Moment>& timeline, std::size_t arena_bytes,
                       const std::string& title);

}  // namespace bessemer::plan
