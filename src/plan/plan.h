// A plan: everything the runtime needs and all it gets. Frozen once made; `bessemer plan` prints
// it.
//
// All tensors of all programs lie in one arena:
//
//   | persistent (catalog) | data inputs | transients, shared by the programs |
//
// Offsets are bytes from the arena's start, multiples of Arena::kAlignment.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cost/machine.h"
#include "ir/graph.h"
#include "kernels/kernel.h"
#include "ops/op.h"

namespace bessemer::plan {

inline constexpr std::size_t kNoOffset = static_cast<std::size_t>(-1);

/// A persistent tensor: parameter, gradient, optimiser state, weight copy, cache.
struct CatalogEntry {
  std::string name;
  ir::Role role = ir::Role::parameter;
  TensorType type;
  std::size_t offset = 0;
};

struct Instruction {
  std::string op;
  std::string label;
  std::string kernel;  // name of the chosen candidate
  std::shared_ptr<const kernels::Kernel> run;
  std::vector<std::size_t> operands;  // offsets; kNoOffset: an absent optional operand
  std::vector<std::size_t> results;
  std::size_t scratch = 0;
  std::size_t scratch_bytes = 0;
  ops::Work work;
  double seconds = 0;  // predicted
  int moment = 0;      // on the clock of TransientBuffer::first and last
};

/// A named place that the caller fills (data) or reads (results).
struct Port {
  std::string name;
  TensorType type;
  std::size_t offset = 0;
};

/// A transient buffer's life, for the ledger and for tests of the assignment.
struct TransientBuffer {
  std::string name;  // of the first value in it, or "scratch of ..."
  enum class Kind { stash, transient, scratch, result } kind = Kind::transient;
  std::size_t bytes = 0;
  std::size_t offset = 0;  // from the arena's start
  int first = 0;           // instruction that writes it
  int last = 0;            // last instruction that needs it
};

struct Program {
  std::string name;
  std::vector<Instruction> instructions;
  std::vector<Port> data;
  std::vector<Port> results;
  std::vector<TransientBuffer> transients;
  std::size_t transient_bytes = 0;  // what the assignment needs
  std::size_t live_peak_bytes = 0;  // largest sum of live bytes: no assignment can need less
  int live_peak_at = 0;             // the instruction where that is

  double predicted_seconds() const;
  ops::Work work() const;
};

struct LedgerEntry {
  std::string category;  // parameters, optimizer, gradients, weights, cache, data, stash,
                         // transients, scratch, unused
  std::string name;
  std::size_t bytes = 0;
};

struct Plan {
  cost::MachineDescription machine;
  std::vector<CatalogEntry> catalog;
  std::vector<Program> programs;
  std::size_t persistent_bytes = 0;
  std::size_t data_bytes = 0;
  std::size_t arena_bytes = 0;

  const Program* find(std::string_view name) const;
  const Program& program(std::string_view name) const;  // Error where there is none
  const CatalogEntry* find_tensor(std::string_view name) const;
};

/// Plans the graphs onto one arena. Persistent inputs of the same name are the same tensor (Error
/// where their types differ). Every instruction gets the first candidate kernel that accepts it.
Plan make_plan(const std::vector<const ir::Graph*>& graphs,
               const cost::MachineDescription& machine);

/// Every byte of the arena under a name: persistent tensors, data, and the transient region as it
/// is at the peak of the program that needs most of it. The entries sum to arena_bytes exactly.
std::vector<LedgerEntry> ledger(const Plan& plan);

/// The account of the ledger that such bytes fall into.
std::string_view category_of(ir::Role role);
std::string_view category_of(TransientBuffer::Kind kind);

}  // namespace bessemer::plan
