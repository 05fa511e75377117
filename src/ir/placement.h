// How a value lies on the mesh: for each mesh axis it is replicated, sharded along one tensor
// dimension, or a partial sum that still has to be reduced (Xu et al., "GSPMD", 2021).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bessemer::ir {

enum class MeshAxis : std::uint8_t { pp, dp, cp, ep, tp };

std::string_view name_of(MeshAxis axis);

struct AxisPlacement {
  enum class Kind : std::uint8_t { sharded, partial };
  MeshAxis axis = MeshAxis::dp;
  Kind kind = Kind::sharded;
  std::int64_t dim = 0;  // tensor dimension; 0 for partial sums

  bool operator==(const AxisPlacement&) const = default;
};

/// The axes along which a value is not replicated, ordered by axis. Empty: a whole copy on every
/// rank.
struct Placement {
  std::vector<AxisPlacement> axes;

  bool replicated() const { return axes.empty(); }
  bool operator==(const Placement&) const = default;
};

/// "@(dp:0, tp:+)": sharded along dim 0 over dp, partial over tp. Empty text where replicated.
std::string to_string(const Placement& placement);

}  // namespace bessemer::ir
