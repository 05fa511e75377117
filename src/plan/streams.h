// Which instructions of other streams an instruction has to wait for.
//
// The order of a program is its meaning. Two instructions of different streams may run beside each
// other unless one writes bytes that the other touches: then the later one waits for the earlier.
// Waits name earlier instructions only, so they can never form a circle.
#pragma once

#include <cstddef>
#include <vector>

#include "plan/plan.h"

namespace bessemer::plan {

/// Bytes [begin, end) of a tier's arena that an instruction reads or writes.
struct Access {
  ir::Tier tier = ir::Tier::device;
  std::size_t begin = 0;
  std::size_t end = 0;
  bool writes = false;
};

/// Sets Instruction::waits. `accesses` are those of each instruction.
void set_waits(std::vector<Instruction>& instructions,
               const std::vector<std::vector<Access>>& accesses);

/// When each instruction starts and ends, in predicted seconds from the program's start.
struct Span {
  double start = 0;
  double end = 0;
};
std::vector<Span> timeline(const std::vector<Instruction>& instructions);

}  // namespace bessemer::plan
