// Where things lie once the pairs of Plan::exchanges have changed places.
#pragma once

#include <array>
#include <cstddef>
#include <map>

#include "plan/plan.h"

namespace bessemer::plan {

class Exchanged {
 public:
  /// Everything where it is planned.
  Exchanged() = default;

  /// Every pair of the plan exchanged.
  explicit Exchanged(const Plan& plan);

  /// Where that place is now: in the tensor it was in, wherever that lies.
  std::size_t offset(const Place& place) const;

  /// The tensor that this one of the catalog changes places with; itself where it stays.
  std::size_t entry(std::size_t index) const;

 private:
  struct Moved {
    std::size_t end;
    std::size_t to;
  };
  std::array<std::map<std::size_t, Moved>, ir::kTiers> moved_;  // by tier and begin
  std::map<std::size_t, std::size_t> entries_;
};

}  // namespace bessemer::plan
