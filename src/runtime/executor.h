// Executes a plan on what it was made for, the processor or a CUDA device. Walks instructions;
// decides nothing.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "kernels/cuda/device.h"
#include "plan/exchange.h"
#include "plan/plan.h"
#include "runtime/engine.h"
#include "runtime/request_queue.h"

namespace bessemer::runtime {

/// The bytes of one tensor in this process's memory.
struct TensorBytes {
  TensorType type;
  std::byte* data = nullptr;

  std::size_t bytes() const { return type.bytes(); }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

struct ExecutorOptions {
  /// Streams run beside each other, or all instructions on the caller's thread in program order:
  /// the same bits, without the overlap.
  enum class Streams { beside, in_order } streams = Streams::beside;
  std::filesystem::path file_directory;  // of the file tier, where the plan has one
  QueueFactory file_queue = make_request_queue;
  /// What to use as device arena, for executors that take turns: as large as the plan's or larger,
  /// zeroed by each. Without one the executor has its own.
  std::shared_ptr<const Arena> device_arena;
  /// What a plan for a CUDA device runs on.
  std::shared_ptr<kernels::cuda::Device> cuda_device;
};

/// Owns the arenas of a plan, and its file. They start zeroed. Not thread-safe: one program at a
/// time.
class Executor {
 public:
  /// `plan` must outlive the executor. Error where the system has not the memory or the given arena
  /// is too small, InputError where the file cannot be made.
  explicit Executor(const plan::Plan& plan, const ExecutorOptions& options = {});

  Executor(const Executor&) = delete;  // its threads know where it is
  Executor& operator=(const Executor&) = delete;
  ~Executor();

  const plan::Plan& plan() const { return plan_; }

  /// A handle for fast repeated runs.
  class ProgramHandle {
   public:
    bool valid() const { return index_ >= 0; }

   private:
    friend class Executor;
    int index_ = -1;
  };
  ProgramHandle find(std::string_view program) const;  // invalid where there is none

  /// Whether programs may still run when `run` returns: those of a CUDA device do. What follows,
  /// other programs and the functions below included, comes after them; who asks for a tensor's
  /// bytes or a result waits for what makes them, and nobody else does.
  bool is_asynchronous() const { return engine_->is_asynchronous(); }

  /// Runs all instructions of a program on what lies in its data inputs now. No allocation. Waits
  /// for the device only where it is kRunsKept runs of this program behind. InputError where the
  /// file tier fails: then persistent tensors may be half updated, and the run should end.
  Ticket run(ProgramHandle program) const;
  Ticket run(std::string_view program) const;

  /// Whether that run is over. Does not wait.
  bool is_done(const Ticket& run) const { return engine_->is_done(run); }

  /// The same as `run` in program order, calling `after(instruction index, seconds)` after each;
  /// for profiles.
  void run_profiled(ProgramHandle program, const AfterInstruction& after) const;

  /// Whether a persistent tensor lies in this process's memory, in which `tensor` finds it, as it
  /// is until the next run; Error where it is missing, or not there.
  bool is_addressable(std::string_view name) const;
  TensorBytes tensor(std::string_view name) const;
  /// Copies a persistent tensor out or in, wherever it lies; the sizes must agree.
  void read(std::string_view name, std::span<std::byte> to) const;
  void write(std::string_view name, std::span<const std::byte> from) const;

  /// Every pair of plan::Plan::exchanges changes places: for all programs and for the functions
  /// above, each name is from now on the tensor that the other one was. Moves no bytes.
  void exchange() const { side_ = 1 - side_; }

  /// Data input of a program by name; Error where missing. Its bytes are taken when the program is
  /// run, and stay where they are.
  TensorBytes data(std::string_view program, std::string_view name) const;

  /// Result of the latest run of a program by name, when it is done; Error where missing. Stays
  /// until any program runs.
  TensorBytes result(std::string_view program, std::string_view name) const;

  /// The same of a certain run, by the number that `result_port` finds. Where runs are asynchronous
  /// it stays until the program has been run kRunsKept times more.
  std::size_t result_port(std::string_view program, std::string_view name) const;
  TensorBytes result(const Ticket& run, std::size_t port) const;

 private:
  BoundPlan bind_all(const plan::Exchanged& exchanged) const;
  BoundInstruction bind(const plan::Instruction& instruction,
                        const plan::Exchanged& exchanged) const;
  std::byte* at(const plan::Place& place) const;
  std::size_t index_of(std::string_view program) const;
  const plan::CatalogEntry& entry(std::string_view name) const;

  const plan::Plan& plan_;
  std::unique_ptr<Engine> engine_;
  plan::Exchanged exchanged_;
  mutable std::size_t side_ = 0;  // like the arenas' bytes no part of what the executor is
};

}  // namespace bessemer::runtime
