// One optimiser step: hands the batches to the plan's programs and reads the results. The maths is
// in the plan; this only knows the programs' names, which tell in which mode the plan updates
// (passes/step_programs.h).
#pragma once

#include <cstdint>
#include <memory>

#include "data/loader.h"
#include "runtime/executor.h"

namespace bessemer::train {

struct StepResult {
  double loss = 0;           // mean over the valid targets of the global batch, in nats
  double gradient_norm = 0;  // before clipping
  bool skipped = false;      // loss or norm not finite: nothing is updated
};

class StepRunner {
 public:
  /// The executor's plan is one of compile_run and must outlive this. Where it updates with a
  /// delay, nothing is pending until a checkpoint is read.
  StepRunner(const runtime::Executor& executor, std::uint64_t seed);

  /// Recomputes what derives from parameters; after they were set from outside.
  void refresh() const;

  /// Step number `step`, from 1: it addresses the random numbers. No heap allocation.
  StepResult run(const data::GlobalBatch& batch, double learning_rate, std::int64_t step) const;

  /// Sum of the losses over the valid targets of one batch, without training.
  double evaluate(const data::Batch& batch) const;

 private:
  using Program = runtime::Executor::ProgramHandle;
  struct BatchPorts {
    Program program;
    runtime::TensorBytes tokens, targets, positions, visibility, loss_scale, counter, loss;
  };
  /// A program that tells the clip coefficient of a step, from its norm or by taking it.
  struct Verdict {
    Program program;
    runtime::TensorBytes loss, norm, coefficient;
    bool takes_norm = false;
  };
  BatchPorts ports_of(const char* program) const;
  Verdict verdict_of(const char* program) const;
  void copy_batch(const data::Batch& batch, const BatchPorts& ports) const;
  const BatchPorts& ports_for(std::size_t micro_batch, std::size_t count) const;
  double accumulate(const data::GlobalBatch& batch, std::int64_t step) const;
  StepResult judge(const Verdict& verdict, double loss, float norm) const;

  const runtime::Executor& executor_;
  std::uint64_t seed_;
  Program refresh_;
  BatchPorts first_, next_, last_, evaluate_;  // last_: only where the update runs beside it
  Verdict update_, check_;                     // check_: only of speculative updates
  runtime::TensorBytes learning_rate_, norm_of_last_;
};

}  // namespace bessemer::train
