// A run in memory, step by step, without the trainer around it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/rng.h"
#include "train/compile.h"
#include "train/offload.h"
#include "train/step_runner.h"
#include "train/weights.h"

namespace bessemer::testing {

inline constexpr std::int64_t kVocabulary = 280;

using State = std::map<std::string, std::vector<std::byte>>;

/// Draws its parameters and its batches from fixed seeds.
class Stepper {
 public:
  explicit Stepper(const config::RunConfig& config)
      : Stepper(config, cost::describe_here(), train::executor_options(config)) {}

  Stepper(const config::RunConfig& config, const cost::MachineDescription& machine,
          const runtime::ExecutorOptions& options)
      : config_(config),
        length_(config.data.sequence_length),
        sequences_(*config.train.micro_batch_size),
        architecture_(models::resolve(config.model, kVocabulary, length_)),
        compiled_(compile(machine)),
        executor_(compiled_.plan, options),
        runner_(executor_, 1) {
    train::draw_parameters(architecture_, 1, train::into(executor_));
    runner_.refresh();
  }

  const runtime::Executor& executor() const { return executor_; }
  const plan::Plan& plan() const { return compiled_.plan; }

  train::StepResult step(std::int64_t number, double learning_rate) {
    return result(start(number, learning_rate));
  }

  train::StartedStep start(std::int64_t number, double learning_rate) {
    data::GlobalBatch batch;
    for (std::int64_t m = 0; m < compiled_.micro_batches; ++m) {
      batch.micro_batches.push_back(micro_batch(100 * number + m));
      batch.valid_tokens += batch.micro_batches.back().valid_tokens;
    }
    return runner_.start(batch, learning_rate, number);
  }
  train::StepResult result(const train::StartedStep& step) const { return runner_.result(step); }
  bool is_done(const train::StartedStep& step) const { return runner_.is_done(step); }

  std::vector<std::byte> read(const std::string& name) const {
    std::vector<std::byte> bytes(compiled_.plan.find_tensor(name)->type.bytes());
    executor_.read(name, bytes);
    return bytes;
  }

  std::vector<std::string> names_of(ir::Role role) const {
    std::vector<std::string> names;
    for (const plan::CatalogEntry& entry : compiled_.plan.catalog) {
      if (entry.role == role && !entry.name.starts_with("next.")) names.push_back(entry.name);
    }
    return names;
  }

  // Parameters and moments, and what arithmetic reads of them.
  State state() const {
    State state;
    for (const ir::Role role : {ir::Role::parameter, ir::Role::optimizer, ir::Role::weight}) {
      for (const std::string& name : names_of(role)) {
        const bool scalar = compiled_.plan.find_tensor(name)->type.rank() == 0;
        if (!scalar) state[name] = read(name);
      }
    }
    return state;
  }

  void refresh() const { runner_.refresh(); }

 private:
  train::CompiledRun compile(const cost::MachineDescription& machine) const {
    passes::Runner passes;
    return train::compile_run(config_, architecture_, machine, passes);
  }

  data::Batch micro_batch(std::int64_t seed) const {
    const CounterRng rng(static_cast<std::uint64_t>(seed), 0, 0);
    data::Batch batch;
    for (std::int64_t i = 0; i < sequences_ * length_; ++i) {
      const auto token = [&](std::int64_t at) {
        return static_cast<std::int32_t>(rng.word(static_cast<std::uint64_t>(at)) % kVocabulary);
      };
      batch.tokens.push_back(token(i));
      batch.targets.push_back(token(i + 1));
      batch.positions.push_back(static_cast<std::int32_t>(i % length_));
      batch.visibility.insert(batch.visibility.end(), {0, static_cast<std::int32_t>(length_)});
    }
    batch.valid_tokens = sequences_ * length_;
    return batch;
  }

  config::RunConfig config_;
  std::int64_t length_, sequences_;
  models::Architecture architecture_;
  train::CompiledRun compiled_;
  runtime::Executor executor_;
  train::StepRunner runner_;
};

}  // namespace bessemer::testing
