// Orders in which blocks are worth packing: the starting points of the search.
#pragma once

#include <array>
#include <vector>

#include "plan/skyline_packer.h"

namespace bessemer::plan {

/// What comes first.
enum class OrderRule {
  area,           // most bytes times instants
  life,           // longest, then largest
  life_and_size,  // most instants times the root of bytes
  size_and_life,  // most bytes times the root of instants
  size,           // largest, then longest
  heat,           // alive at the fullest instant, then by area
};

/// Best first, as measured on random sets (bench/assign.cpp).
inline constexpr std::array kOrderRules{OrderRule::area,          OrderRule::life,
                                        OrderRule::life_and_size, OrderRule::size_and_life,
                                        OrderRule::size,          OrderRule::heat};

/// The blocks of `packer` by that rule; of equal ones the earlier in the list.
std::vector<int> order_by(OrderRule rule, const SkylinePacker& packer);

}  // namespace bessemer::plan
