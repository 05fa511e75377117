// A plan: everything the runtime needs and all it gets. Frozen once made; `bessemer plan` prints
// it.
//
// All tensors of all programs lie in one arena a tier:
//
//   | persistent (catalog) | data inputs (device only) | transients, shared by the programs |
//
// Offsets are bytes from the start of the tier's arena: multiples of Arena::kAlignment, in the file
// tier of kFileAlignment.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cost/machine.h"
#include "ir/graph.h"
#include "kernels/kernel.h"
#include "ops/op.h"

namespace bessemer::plan {

inline constexpr std::size_t kNoOffset = static_cast<std::size_t>(-1);

/// What direct file access asks of offsets, addresses and sizes.
inline constexpr std::size_t kFileAlignment = 4096;

/// Where something lies.
struct Place {
  std::size_t offset = kNoOffset;  // kNoOffset: nowhere, an absent optional operand
  ir::Tier tier = ir::Tier::device;

  bool absent() const { return offset == kNoOffset; }
  bool operator==(const Place&) const = default;
};

/// What runs beside each other: arithmetic, and movement from and to lower tiers. The instructions
/// of a stream run in their order.
enum class Stream : std::uint8_t { compute, fetch, store };
inline constexpr std::size_t kStreams = 3;
std::string_view name_of(Stream stream);

/// An instruction starts once so many of another stream's instructions of this program are done.
struct Wait {
  Stream stream = Stream::compute;
  std::uint32_t count = 0;
};

/// Movement between the file and the device, which no kernel does.
struct FileTransfer {
  enum class Direction : std::uint8_t { read, write } direction = Direction::read;
  std::size_t file_offset = 0;
  std::size_t device_offset = 0;
  std::size_t bytes = 0;
};

/// A persistent tensor: parameter, gradient, optimiser state, weight copy, cache.
struct CatalogEntry {
  std::string name;
  ir::Role role = ir::Role::parameter;
  TensorType type;
  std::size_t offset = 0;
  ir::Tier tier = ir::Tier::device;
};

/// Two persistent tensors, by their indices in the catalog, that may change places.
struct Exchange {
  std::size_t first = 0;
  std::size_t second = 0;
};

/// The order of a program's instructions is what they mean; streams and waits are how far they may
/// run beside each other without a difference.
struct Instruction {
  std::string op;
  std::string label;
  std::string kernel;                                // name of the chosen candidate
  kernels::Backend backend = kernels::Backend::cpu;  // what runs it
  std::shared_ptr<const kernels::Kernel> run;        // null where `file` is set
  std::optional<FileTransfer> file;
  Stream stream = Stream::compute;
  std::vector<Wait> waits;
  std::vector<Place> operands;
  std::vector<Place> results;
  std::size_t scratch = 0;  // on the device
  std::size_t scratch_bytes = 0;
  std::int64_t chunks = 1;  // of rows, one after the other, in which it does its work
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
  enum class Kind {
    stash,      // made in forward, needed in backward
    transient,  // neither
    scratch,    // of a kernel
    result,     // the caller reads it
    moving,     // on the device, brought from a lower tier
  } kind = Kind::transient;
  std::size_t bytes = 0;
  std::size_t offset = 0;  // from the arena's start
  int first = 0;           // instruction that writes it
  int last = 0;            // last instruction that needs it
  ir::Tier tier = ir::Tier::device;
};

/// The transients of a program in one of the lower tiers.
struct LowerTransients {
  std::size_t bytes = 0;  // what the assignment needs
  std::size_t live_peak_bytes = 0;
  int live_peak_at = 0;
};

struct Program {
  std::string name;
  std::vector<Instruction> instructions;
  std::vector<Port> data;
  std::vector<Port> results;
  std::vector<TransientBuffer> transients;
  std::size_t transient_bytes = 0;  // what the assignment needs on the device
  std::size_t live_peak_bytes = 0;  // largest sum of live bytes: no assignment can need less
  int live_peak_at = 0;             // the instruction where that is
  LowerTransients host, file;

  /// Until the last stream is done, each waiting as its instructions say.
  double predicted_seconds() const;
  ops::Work work() const;
};

struct LedgerEntry {
  std::string category;  // parameters, optimizer, gradients, weights, cache, data, stash,
                         // transients, scratch, communication, unused
  std::string name;
  std::size_t bytes = 0;
  ir::Tier tier = ir::Tier::device;
};

/// The arena of one of the lower tiers.
struct LowerArena {
  std::size_t persistent_bytes = 0;
  std::size_t arena_bytes = 0;
};

struct Plan {
  cost::MachineDescription machine;
  std::vector<CatalogEntry> catalog;
  std::vector<Exchange> exchanges;  // what runtime::Executor::exchange does
  std::vector<Program> programs;
  std::size_t persistent_bytes = 0;
  std::size_t data_bytes = 0;  // to a multiple of kFileAlignment from the arena's start
  std::size_t arena_bytes = 0;
  LowerArena host, file;

  /// Size of a tier's arena.
  std::size_t bytes(ir::Tier tier) const;
  const Program* find(std::string_view name) const;
  const Program& program(std::string_view name) const;  // Error where there is none
  const CatalogEntry* find_tensor(std::string_view name) const;
};

struct PlanOptions {
  /// Bytes on the device that stores may hold on to while the arithmetic goes on.
  std::size_t stored_behind = std::size_t{64} << 20;
  /// Pairs of persistent tensors, by name, that change places between programs. A pair has one type
  /// and one tier, and no tensor is in two.
  std::vector<std::pair<std::string, std::string>> exchanges;
};

/// Plans the graphs onto one arena a tier. Persistent inputs of the same name are the same tensor
/// (Error where their types or tiers differ). Every instruction gets the first candidate kernel
/// that accepts it.
Plan make_plan(const std::vector<const ir::Graph*>& graphs, const cost::MachineDescription& machine,
               const PlanOptions& options = {});

/// By tier, the bytes of the graphs' persistent tensors and data inputs: where transients begin.
std::array<std::size_t, ir::kTiers> standing_bytes(const std::vector<const ir::Graph*>& graphs);

/// Every byte of the arenas under a name: persistent tensors, data, and each tier's transient
/// region as it is at the peak of the program that needs most of it. The entries of a tier sum to
/// its arena exactly.
std::vector<LedgerEntry> ledger(const Plan& plan);

/// The account of the ledger that such bytes fall into.
std::string_view category_of(ir::Role role);
std::string_view category_of(TransientBuffer::Kind kind);

}  // namespace bessemer::plan
