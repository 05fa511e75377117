#include "train/step_runner.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"

namespace bessemer::train {
namespace {

void copy_into(const runtime::TensorBytes& port, const std::vector<std::int32_t>& values) {
  if (port.data == nullptr) return;  // the graph does not use it
  if (values.size() * sizeof(std::int32_t) != port.bytes()) {
    fail("a batch of {} values for {}", values.size(), to_string(port.type));
  }
  std::memcpy(port.data, values.data(), port.bytes());
}

void set_learning_rate(const runtime::TensorBytes& port, double rate) {
  if (port.data != nullptr) *port.as<float>() = static_cast<float>(rate);
}

double loss_scale(const data::GlobalBatch& batch) {
  return batch.valid_tokens > 0 ? 1.0 / static_cast<double>(batch.valid_tokens) : 0.0;
}

}  // namespace

StepRunner::StepRunner(const runtime::Executor& executor, std::uint64_t seed)
    : executor_(executor),
      seed_(seed),
      refresh_(executor.find("refresh")),
      refresh_rest_(executor.find("refresh_rest")),
      first_(ports_of("accumulate_first")),
      next_(ports_of("accumulate")),
      last_(ports_of("accumulate_last")),
      evaluate_(ports_of("evaluate")),
      update_(verdict_of("update")),
      check_(verdict_of("check")) {
  if (evaluate_.program.valid()) loss_of_evaluate_ = executor.result_port("evaluate", "loss");
  if (is_delayed()) judge(update_, std::numeric_limits<double>::quiet_NaN(), 0);
}

StepRunner::Verdict StepRunner::verdict_of(const char* program) const {
  Verdict verdict;
  verdict.program = executor_.find(program);
  if (!verdict.program.valid()) return verdict;
  for (const plan::Port& port : executor_.plan().program(program).data) {
    const runtime::TensorBytes bytes = executor_.data(program, port.name);
    if (port.name == "loss_scale") verdict.loss_scale = bytes;
    if (port.name == "learning_rate") verdict.learning_rate = bytes;
  }
  verdict.loss = executor_.result_port(program, "loss");
  verdict.norm = executor_.result_port(program, "gradient_norm");
  verdict.coefficient = executor_.result_port(program, "coefficient");
  return verdict;
}

StepRunner::BatchPorts StepRunner::ports_of(const char* program) const {
  BatchPorts ports;
  ports.program = executor_.find(program);
  if (!ports.program.valid()) return ports;
  for (const plan::Port& port : executor_.plan().program(program).data) {
    const runtime::TensorBytes bytes = executor_.data(program, port.name);
    if (port.name == "tokens") ports.tokens = bytes;
    if (port.name == "targets") ports.targets = bytes;
    if (port.name == "positions") ports.positions = bytes;
    if (port.name == "visibility") ports.visibility = bytes;
    if (port.name == "loss_scale") ports.loss_scale = bytes;
    if (port.name == "counter") ports.counter = bytes;
    if (port.name == "learning_rate") ports.learning_rate = bytes;
  }
  return ports;
}

void StepRunner::copy_batch(const data::Batch& batch, const BatchPorts& ports) const {
  copy_into(ports.tokens, batch.tokens);
  copy_into(ports.targets, batch.targets);
  copy_into(ports.positions, batch.positions);
  copy_into(ports.visibility, batch.visibility);
}

void StepRunner::refresh() const {
  if (refresh_.valid()) executor_.run(refresh_);
}

const StepRunner::BatchPorts& StepRunner::ports_for(std::size_t micro_batch,
                                                    std::size_t count) const {
  if (last_.program.valid() && micro_batch + 1 == count) return last_;
  return micro_batch == 0 ? first_ : next_;
}

void StepRunner::accumulate(const data::GlobalBatch& batch, double learning_rate,
                            std::int64_t step) const {
  for (std::size_t m = 0; m < batch.micro_batches.size(); ++m) {
    const BatchPorts& ports = ports_for(m, batch.micro_batches.size());
    copy_batch(batch.micro_batches[m], ports);
    *ports.loss_scale.as<float>() = static_cast<float>(loss_scale(batch));
    set_learning_rate(ports.learning_rate, learning_rate);
    if (ports.counter.data != nullptr) {
      auto* counter = ports.counter.as<std::int64_t>();
      counter[0] = static_cast<std::int64_t>(seed_);
      counter[1] = step;
      counter[2] = static_cast<std::int64_t>(m);
    }
    executor_.run(ports.program);
  }
}

runtime::Ticket StepRunner::judge(const Verdict& verdict, double loss_scale,
                                  double learning_rate) const {
  *verdict.loss_scale.as<double>() = loss_scale;
  set_learning_rate(verdict.learning_rate, learning_rate);
  return executor_.run(verdict.program);
}

float StepRunner::coefficient(const Verdict& verdict, const runtime::Ticket& run) const {
  return *executor_.result(run, verdict.coefficient).as<float>();
}

StepResult StepRunner::read(const Verdict& verdict, const runtime::Ticket& run) const {
  return {*executor_.result(run, verdict.loss).as<double>(),
          static_cast<double>(*executor_.result(run, verdict.norm).as<float>()),
          std::isnan(coefficient(verdict, run))};
}

StartedStep StepRunner::start(const data::GlobalBatch& batch, double learning_rate,
                              std::int64_t step) const {
  accumulate(batch, learning_rate, step);
  if (check_.program.valid()) {
    const runtime::Ticket checked = judge(check_, loss_scale(batch), learning_rate);
    if (coefficient(check_, checked) == 1.0F) {
      const StepResult result = read(check_, checked);
      executor_.exchange();
      return {{}, result};
    }
  }
  StartedStep started{judge(update_, loss_scale(batch), learning_rate), std::nullopt};
  // What runs next may reuse the memory of the results.
  if (!executor_.is_asynchronous()) started.result = read(update_, started.update);
  if (is_delayed()) {
    executor_.exchange();
  } else if (refresh_rest_.valid()) {
    executor_.run(refresh_rest_);
  }
  return started;
}

bool StepRunner::is_done(const StartedStep& step) const {
  return step.result || executor_.is_done(step.update);
}

StepResult StepRunner::result(const StartedStep& step) const {
  return step.result ? *step.result : read(update_, step.update);
}

double StepRunner::evaluate(const data::Batch& batch) const {
  copy_batch(batch, evaluate_);
  const runtime::Ticket run = executor_.run(evaluate_.program);
  return static_cast<double>(*executor_.result(run, loss_of_evaluate_).as<float>());
}

}  // namespace bessemer::train
