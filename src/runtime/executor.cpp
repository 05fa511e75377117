#include "runtime/executor.h"

#include <chrono>

#include "base/error.h"

namespace bessemer::runtime {
namespace {

const plan::Port* find_port(const std::vector<plan::Port>& ports, std::string_view name) {
  for (const plan::Port& port : ports) {
    if (port.name == name) return &port;
  }
  return nullptr;
}

}  // namespace

Executor::Executor(const plan::Plan& plan) : plan_(plan), arena_(plan.arena_bytes) {
  for (const plan::Program& program : plan.programs) {
    std::vector<Bound> bound;
    bound.reserve(program.instructions.size());
    for (const plan::Instruction& instruction : program.instructions) {
      Bound b{instruction.run.get(), {}, {}, nullptr};
      for (const std::size_t offset : instruction.operands) {
        b.operands.push_back(offset == plan::kNoOffset ? nullptr : at(offset));
      }
      for (const std::size_t offset : instruction.results) b.results.push_back(at(offset));
      if (instruction.scratch_bytes > 0) b.scratch = at(instruction.scratch);
      bound.push_back(std::move(b));
    }
    programs_.push_back(std::move(bound));
  }
}

Executor::ProgramHandle Executor::find(std::string_view program) const {
  ProgramHandle handle;
  for (std::size_t i = 0; i < plan_.programs.size(); ++i) {
    if (plan_.programs[i].name == program) handle.index_ = static_cast<int>(i);
  }
  return handle;
}

void Executor::run(ProgramHandle program) const {
  for (const Bound& b : programs_[static_cast<std::size_t>(program.index_)]) {
    b.kernel->run({b.operands, b.results, b.scratch});
  }
}

void Executor::run(std::string_view program) const {
  const ProgramHandle handle = find(program);
  require(handle.valid(), "the plan has no program {}", program);
  run(handle);
}

void Executor::run_profiled(ProgramHandle program,
                            const std::function<void(std::size_t, double)>& after) const {
  using Clock = std::chrono::steady_clock;
  const auto& instructions = programs_[static_cast<std::size_t>(program.index_)];
  for (std::size_t i = 0; i < instructions.size(); ++i) {
    const auto start = Clock::now();
    instructions[i].kernel->run(
        {instructions[i].operands, instructions[i].results, instructions[i].scratch});
    after(i, std::chrono::duration<double>(Clock::now() - start).count());
  }
}

TensorBytes Executor::tensor(std::string_view name) const {
  const plan::CatalogEntry* entry = plan_.find_tensor(name);
  require(entry != nullptr, "the plan has no tensor {}", name);
  return {entry->type, at(entry->offset)};
}

TensorBytes Executor::data(std::string_view program, std::string_view name) const {
  const plan::Port* port = find_port(plan_.program(program).data, name);
  require(port != nullptr, "program {} takes no data {}", program, name);
  return {port->type, at(port->offset)};
}

TensorBytes Executor::result(std::string_view program, std::string_view name) const {
  const plan::Port* port = find_port(plan_.program(program).results, name);
  require(port != nullptr, "program {} has no result {}", program, name);
  return {port->type, at(port->offset)};
}

}  // namespace bessemer::runtime
