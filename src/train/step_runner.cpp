#include "train/step_runner.h"

#include <cmath>
#include <cstring>

#include "base/error.h"

namespace bessemer::train {
namespace {

void copy_into(const runtime::TensorBytes& port, const std::vector<std::int32_t>& values) {
  if (port.data == nullptr) return;  // the graph does not use it
  require(values.size() * sizeof(std::int32_t) == port.bytes(), "a batch of {} values for {}",
          values.size(), to_string(port.type));
  std::memcpy(port.data, values.data(), port.bytes());
}

}  // namespace

StepRunner::StepRunner(const runtime::Executor& executor, std::uint64_t seed)
    : executor_(executor),
      seed_(seed),
      refresh_(executor.find("refresh")),
      update_(executor.find("update")),
      first_(ports_of("accumulate_first")),
      next_(ports_of("accumulate")),
      evaluate_(ports_of("evaluate")) {
  if (!update_.valid()) return;
  learning_rate_ = executor.data("update", "learning_rate");
  loss_ = executor.data("update", "loss");
  norm_ = executor.result("update", "gradient_norm");
  coefficient_ = executor.result("update", "coefficient");
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
  }
  ports.loss = executor_.result(program, "loss");
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

StepResult StepRunner::run(const data::GlobalBatch& batch, double learning_rate,
                           std::int64_t step) const {
  const double scale = batch.valid_tokens > 0 ? 1.0 / static_cast<double>(batch.valid_tokens) : 0.0;
  double loss = 0;
  for (std::size_t m = 0; m < batch.micro_batches.size(); ++m) {
    const BatchPorts& ports = m == 0 ? first_ : next_;
    copy_batch(batch.micro_batches[m], ports);
    *ports.loss_scale.as<float>() = static_cast<float>(scale);
    if (ports.counter.data != nullptr) {
      auto* counter = ports.counter.as<std::int64_t>();
      counter[0] = static_cast<std::int64_t>(seed_);
      counter[1] = step;
      counter[2] = static_cast<std::int64_t>(m);
    }
    executor_.run(ports.program);
    loss += static_cast<double>(*ports.loss.as<float>());
  }
  loss *= scale;
  *learning_rate_.as<float>() = static_cast<float>(learning_rate);
  *loss_.as<float>() = static_cast<float>(loss);
  executor_.run(update_);
  const StepResult result{loss, static_cast<double>(*norm_.as<float>()),
                          std::isnan(*coefficient_.as<float>())};
  if (!result.skipped) refresh();  // may reuse the memory of the results
  return result;
}

double StepRunner::evaluate(const data::Batch& batch) const {
  copy_batch(batch, evaluate_);
  executor_.run(evaluate_.program);
  return static_cast<double>(*evaluate_.loss.as<float>());
}

}  // namespace bessemer::train
