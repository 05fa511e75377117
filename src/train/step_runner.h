// One optimiser step: hands the batches to the plan's programs and reads the results. The maths is
// in the plan; this only knows the programs' names, which tell in which mode the plan updates
// (passes/step_programs.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "data/loader.h"
#include "runtime/executor.h"

namespace bessemer::train {

struct StepResult {
  double loss = 0;           // mean over the valid targets of the global batch, in nats
  double gradient_norm = 0;  // before clipping
  bool skipped = false;      // loss or norm not finite: nothing is updated
};

/// A step that was started.
struct StartedStep {
  runtime::Ticket update;
  std::optional<StepResult> result;  // where it is known already
};

class StepRunner {
 public:
  /// The executor's plan is one of compile_run and must outlive this. Where it updates with a
  /// delay, nothing is pending until a checkpoint is read.
  StepRunner(const runtime::Executor& executor, std::uint64_t seed);

  /// Recomputes what derives from parameters; after they were set from outside.
  void refresh() const;

  /// Starts step number `step`, from 1: it addresses the random numbers. The executor may still be
  /// at it afterwards, so that the next one can be made ready, and started, beside it. Only a
  /// speculative step is over: whether it is taken back is decided here. No heap allocation.
  StartedStep start(const data::GlobalBatch& batch, double learning_rate, std::int64_t step) const;

  /// Whether a step is over. Does not wait.
  bool is_done(const StartedStep& step) const;

  /// What came of a step; waits for it. Of the last runtime::kRunsKept that were started.
  StepResult result(const StartedStep& step) const;

  /// Starts a step and waits for it.
  StepResult run(const data::GlobalBatch& batch, double learning_rate, std::int64_t step) const {
    return result(start(batch, learning_rate, step));
  }

  /// Sum of the losses over the valid targets of one batch, without training.
  double evaluate(const data::Batch& batch) const;

 private:
  using Program = runtime::Executor::ProgramHandle;
  struct BatchPorts {
    Program program;
    runtime::TensorBytes tokens, targets, positions, visibility, loss_scale, counter, learning_rate;
  };
  /// A program that tells what came of a step. Results by number.
  struct Verdict {
    Program program;
    runtime::TensorBytes loss_scale, learning_rate;
    std::size_t loss = 0, norm = 0, coefficient = 0;
  };
  bool is_delayed() const { return !executor_.plan().exchanges.empty() && !check_.program.valid(); }
  BatchPorts ports_of(const char* program) const;
  Verdict verdict_of(const char* program) const;
  void copy_batch(const data::Batch& batch, const BatchPorts& ports) const;
  const BatchPorts& ports_for(std::size_t micro_batch, std::size_t count) const;
  void accumulate(const data::GlobalBatch& batch, double learning_rate, std::int64_t step) const;
  runtime::Ticket judge(const Verdict& verdict, double loss_scale, double learning_rate) const;
  StepResult read(const Verdict& verdict, const runtime::Ticket& run) const;
  float coefficient(const Verdict& verdict, const runtime::Ticket& run) const;

  const runtime::Executor& executor_;
  std::uint64_t seed_;
  Program refresh_, refresh_rest_;  // of all that derives from parameters; of what updates leave
  BatchPorts first_, next_, last_, evaluate_;  // last_: where the step ends otherwise
  Verdict update_, check_;                     // check_: only of speculative updates
  std::size_t loss_of_evaluate_ = 0;
};

}  // namespace bessemer::train
