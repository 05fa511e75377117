// What an executor stands on: the memory of a plan's arenas, and the running of its programs. One
// for the processor (cpu_engine.h), one for CUDA devices (cuda_engine.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/kernel.h"
#include "plan/plan.h"

namespace bessemer::runtime {

/// An instruction with its addresses.
struct BoundInstruction {
  const kernels::Kernel* kernel = nullptr;  // null: the file transfer
  std::vector<const void*> operands;
  std::vector<void*> results;
  void* scratch = nullptr;
  std::optional<plan::FileTransfer> file;
};

/// A program with the addresses of its instructions and, in the order of the plan, of its ports.
struct BoundProgram {
  std::vector<BoundInstruction> instructions;
  std::vector<std::byte*> data, results;
};

/// All programs of a plan.
using BoundPlan = std::vector<BoundProgram>;

/// One run of a program.
struct Ticket {
  std::size_t program = 0;
  std::uint64_t number = 0;  // of the runs of this program, from 1
};

/// Called after each instruction with its number and the seconds it took.
using AfterInstruction = std::function<void(std::size_t, double)>;

/// Calls Kernel::load of every instruction. Engines do it before they take memory for the arenas:
/// what is tried out there needs some too.
void load_kernels(const plan::Plan& plan);

/// Runs of one program that an asynchronous engine has under way at most, and keeps results of.
inline constexpr std::size_t kRunsKept = 4;

class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  /// Start of a tier's arena, as kernels see it; null for the file.
  virtual std::byte* arena(ir::Tier tier) const = 0;
  /// Whether this process may read and write there.
  virtual bool is_addressable(ir::Tier tier) const = 0;

  /// Once, before anything runs: the plan as it is and, where it has exchanges, with all of its
  /// pairs exchanged. These are its sides.
  virtual void bind(std::vector<BoundPlan> sides) = 0;

  /// Whether `run` may return before the program is done. What is started later begins after it,
  /// reading and writing of arenas included.
  virtual bool is_asynchronous() const = 0;
  /// Starts a program on what lies in its data, which may be written anew at once.
  virtual Ticket run(std::size_t side, std::size_t program) = 0;
  /// The same in program order, one instruction after the other; returns when it is done.
  virtual void run_profiled(std::size_t side, std::size_t program,
                            const AfterInstruction& after) = 0;
  /// The latest run of a program; its number is 0 where there was none.
  virtual Ticket latest(std::size_t program) const = 0;
  virtual bool is_done(const Ticket& run) const = 0;
  /// Waits for everything that was started.
  virtual void finish() = 0;

  /// Copies bytes of a tier's arena out or in.
  virtual void read(ir::Tier tier, std::size_t offset, std::span<std::byte> to) = 0;
  virtual void write(ir::Tier tier, std::size_t offset, std::span<const std::byte> from) = 0;

  /// Where this process writes a data input before a run.
  virtual std::byte* data(std::size_t program, std::size_t port) const = 0;
  /// Where it reads a result of a run; waits for the run. Error where that result is gone: an
  /// asynchronous engine keeps those of a program's last kRunsKept runs, another one those of the
  /// last, until any program runs.
  virtual std::byte* result(const Ticket& run, std::size_t port) = 0;
};

}  // namespace bessemer::runtime
