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

}  // namespace

StepRunner::StepRunner(const runtime::Executor& executor, std::uint64_t seed)
    : executor_(executor),
      seed_(seed),
      refresh_(executor.find("refresh")),
      first_(ports_of("accumulate_first")),
      next_(ports_of("accumulate")),
      last_(ports_of("accumulate_last")),
      evaluate_(ports_of("evaluate")),
      update_(verdict_of("update")),
      check_(verdict_of("check")) {
  if (!update_.program.valid()) return;
  learning_rate_ = executor.data("update", "learning_rate");
  if (!last_.program.valid()) return;
  norm_of_last_ = executor.result("accumulate_last", "gradient_norm");
  const bool delayed = !check_.program.valid();
  if (delayed) judge(update_, std::numeric_limits<double>::quiet_NaN(), 0);
}

StepRunner::Verdict StepRunner::verdict_of(const char* program) const {
  Verdict verdict;
  verdict.program = executor_.find(program);
  if (!verdict.program.valid()) return verdict;
  verdict.loss = executor_.data(program, "loss");
  verdict.coefficient = executor_.result(program, "coefficient");
  for (const plan::Port& port : executor_.plan().program(program).data) {
    if (port.name == "gradient_norm") verdict.takes_norm = true;
  }
  verdict.norm = verdict.takes_norm ? executor_.data(program, "gradient_norm")
                                    : executor_.result(program, "gradient_norm");
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

const StepRunner::BatchPorts& StepRunner::ports_for(std::size_t micro_batch,
                                                    std::size_t count) const {
  if (last_.program.valid() && micro_batch + 1 == count) return last_;
  return micro_batch == 0 ? first_ : next_;
}

double StepRunner::accumulate(const data::GlobalBatch& batch, std::int64_t step) const {
  const double scale = batch.valid_tokens > 0 ? 1.0 / static_cast<double>(batch.valid_tokens) : 0.0;
  double loss = 0;
  for (std::size_t m = 0; m < batch.micro_batches.size(); ++m) {
    const BatchPorts& ports = ports_for(m, batch.micro_batches.size());
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
  return loss * scale;
}

StepResult StepRunner::judge(const Verdict& verdict, double loss, float norm) const {
  *verdict.loss.as<float>() = static_cast<float>(loss);
  if (verdict.takes_norm) *verdict.norm.as<float>() = norm;
  executor_.run(verdict.program);
  return {loss, static_cast<double>(*verdict.norm.as<float>()),
          std::isnan(*verdict.coefficient.as<float>())};
}

StepResult StepRunner::run(const data::GlobalBatch& batch, double learning_rate,
                           std::int64_t step) const {
  *learning_rate_.as<float>() = static_cast<float>(learning_rate);
  const double loss = accumulate(batch, step);
  const float norm = last_.program.valid() ? *norm_of_last_.as<float>() : 0;
  if (check_.program.valid()) {
    const StepResult result = judge(check_, loss, norm);
    if (*check_.coefficient.as<float>() == 1.0F) {
      executor_.exchange();
      return result;
    }
  }
  const StepResult result = judge(update_, loss, norm);
  if (update_.takes_norm) {
    executor_.exchange();
  } else if (!result.skipped || check_.program.valid()) {
    refresh();  // may reuse the memory of the results
  }
  return result;
}

double StepRunner::evaluate(const data::Batch& batch) const {
  copy_batch(batch, evaluate_);
  executor_.run(evaluate_.program);
  return static_cast<double>(*evaluate_.loss.as<float>());
}

}  // namespace bessemer::train
