// Executes a plan on the CPU. Walks instructions; decides nothing.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "plan/plan.h"

namespace bessemer::runtime {

/// The bytes of one tensor in the arena.
struct TensorBytes {
  TensorType type;
  std::byte* data = nullptr;

  std::size_t bytes() const { return type.bytes(); }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

/// Owns the arena of a plan. The arena starts zeroed. Not thread-safe: one program at a time.
class Executor {
 public:
  /// `plan` must outlive the executor. Error where the system has not arena_bytes.
  explicit Executor(const plan::Plan& plan);

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

  /// Runs all instructions of a program. No allocation.
  void run(ProgramHandle program) const;
  void run(std::string_view program) const;

  /// The same, calling `after(instruction index, seconds)` after each; for profiles.
  void run_profiled(ProgramHandle program,
                    const std::function<void(std::size_t, double)>& after) const;

  /// Persistent tensor by name, data input or result of a program by name; Error where missing.
  TensorBytes tensor(std::string_view name) const;
  TensorBytes data(std::string_view program, std::string_view name) const;
  TensorBytes result(std::string_view program, std::string_view name) const;

 private:
  struct Bound {
    const kernels::Kernel* kernel;
    std::vector<const void*> operands;
    std::vector<void*> results;
    void* scratch;
  };
  std::byte* at(std::size_t offset) const { return arena_.data() + offset; }

  const plan::Plan& plan_;
  Arena arena_;
  std::vector<std::vector<Bound>> programs_;
};

}  // namespace bessemer::runtime
