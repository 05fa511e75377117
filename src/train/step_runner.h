// One optimiser step: hands the batches to the plan's programs and reads the results. The maths is
// in the plan; this only knows the programs' names.
#pragma once

#include <cstdint>
#include <memory>

#include "data/loader.h"
#include "runtime/executor.h"

namespace bessemer::train {

struct StepResult {
  double loss = 0;           // mean over the valid targets of the global batch, in nats
  double gradient_norm = 0;  // before clipping
  bool skipped = false;      // loss or norm not finite: nothing was updated
};

class StepRunner {
 public:
  /// The executor's plan is one of compile_run and must outlive this.
  StepRunner(const runtime::Executor& executor, std::uint64_t seed);

  /// Recomputes what derives from parameters; after they were set from outside.
  void refresh() const;

  /// Step number `step`, from 1: it addresses the random numbers. No heap allocation.
  StepResult run(const data::GlobalBatch& batch, double learning_rate, std::int64_t step) const;

  /// Sum of the losses over the valid targets of one batch, without training.
  double evaluate(const data::Batch& batch) const;

 private:
  struct BatchPorts {
    runtime::Executor::ProgramHandle program;
    runtime::TensorBytes tokens, targets, positions, visibility, loss_scale, counter, loss;
  };
  BatchPorts ports_of(const char* program) const;
  void copy_batch(const data::Batch& batch, const BatchPorts& ports) const;

  const runtime::Executor& executor_;
  std::uint64_t seed_;
  runtime::Executor::ProgramHandle refresh_, update_;
  BatchPorts first_, next_, evaluate_;
  runtime::TensorBytes learning_rate_, loss_, norm_, coefficient_;
};

}  // namespace bessemer::train
