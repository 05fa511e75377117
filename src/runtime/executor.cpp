#include "runtime/executor.h"

#include "base/error.h"
#include "runtime/cpu_engine.h"
#include "runtime/cuda_engine.h"

namespace bessemer::runtime {
namespace {

std::optional<std::size_t> find_port(const std::vector<plan::Port>& ports, std::string_view name) {
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (ports[i].name == name) return i;
  }
  return std::nullopt;
}

std::unique_ptr<Engine> make_engine(const plan::Plan& plan, const ExecutorOptions& options) {
  if (plan.machine.cpu.device == kernels::Backend::cpu) {
    return std::make_unique<CpuEngine>(plan, options);
  }
  require(options.cuda_device != nullptr, "the plan is for a CUDA device, and none is given");
  return std::make_unique<CudaEngine>(plan, options.cuda_device);
}

}  // namespace

Executor::Executor(const plan::Plan& plan, const ExecutorOptions& options)
    : plan_(plan), engine_(make_engine(plan, options)) {
  std::vector<BoundPlan> sides{bind_all({})};
  if (!plan.exchanges.empty()) {
    exchanged_ = plan::Exchanged(plan);
    sides.push_back(bind_all(exchanged_));
  }
  engine_->bind(std::move(sides));
}

Executor::~Executor() = default;

BoundPlan Executor::bind_all(const plan::Exchanged& exchanged) const {
  BoundPlan programs;
  for (const plan::Program& program : plan_.programs) {
    BoundProgram& bound = programs.emplace_back();
    bound.instructions.reserve(program.instructions.size());
    for (const plan::Instruction& instruction : program.instructions) {
      bound.instructions.push_back(bind(instruction, exchanged));
    }
    for (const plan::Port& port : program.data) bound.data.push_back(at({port.offset}));
    // A result may lie in a tensor that the program also writes.
    for (const plan::Port& port : program.results) {
      bound.results.push_back(at({exchanged.offset({port.offset})}));
    }
  }
  return programs;
}

BoundInstruction Executor::bind(const plan::Instruction& instruction,
                                const plan::Exchanged& exchanged) const {
  BoundInstruction b{instruction.run.get(), {}, {}, nullptr, instruction.file};
  const auto address = [&](const plan::Place& place) {
    return at({exchanged.offset(place), place.tier});
  };
  if (instruction.file) {
    b.file->file_offset = exchanged.offset({b.file->file_offset, ir::Tier::file});
    b.file->device_offset = exchanged.offset({b.file->device_offset});
    return b;
  }
  for (const plan::Place& place : instruction.operands) {
    b.operands.push_back(place.absent() ? nullptr : address(place));
  }
  for (const plan::Place& place : instruction.results) b.results.push_back(address(place));
  if (instruction.scratch_bytes > 0) b.scratch = at({instruction.scratch});
  return b;
}

std::byte* Executor::at(const plan::Place& place) const {
  require(place.tier != ir::Tier::file, "what lies in the file tier has no address");
  return engine_->arena(place.tier) + place.offset;
}

Executor::ProgramHandle Executor::find(std::string_view program) const {
  ProgramHandle handle;
  for (std::size_t i = 0; i < plan_.programs.size(); ++i) {
    if (plan_.programs[i].name == program) handle.index_ = static_cast<int>(i);
  }
  return handle;
}

std::size_t Executor::index_of(std::string_view program) const {
  const ProgramHandle handle = find(program);
  require(handle.valid(), "the plan has no program {}", program);
  return static_cast<std::size_t>(handle.index_);
}

Ticket Executor::run(ProgramHandle program) const {
  return engine_->run(side_, static_cast<std::size_t>(program.index_));
}

Ticket Executor::run(std::string_view program) const {
  return engine_->run(side_, index_of(program));
}

void Executor::run_profiled(ProgramHandle program, const AfterInstruction& after) const {
  engine_->run_profiled(side_, static_cast<std::size_t>(program.index_), after);
}

const plan::CatalogEntry& Executor::entry(std::string_view name) const {
  const plan::CatalogEntry* entry = plan_.find_tensor(name);
  require(entry != nullptr, "the plan has no tensor {}", name);
  if (side_ == 0) return *entry;
  return plan_.catalog[exchanged_.entry(static_cast<std::size_t>(entry - plan_.catalog.data()))];
}

bool Executor::is_addressable(std::string_view name) const {
  return engine_->is_addressable(entry(name).tier);
}

TensorBytes Executor::tensor(std::string_view name) const {
  const plan::CatalogEntry& found = entry(name);
  require(engine_->is_addressable(found.tier), "{} is not in this process's memory", name);
  engine_->finish();
  return {found.type, at({found.offset, found.tier})};
}

void Executor::read(std::string_view name, std::span<std::byte> to) const {
  const plan::CatalogEntry& from = entry(name);
  require(to.size() == from.type.bytes(), "{} is {}, read to {} bytes", name, to_string(from.type),
          to.size());
  engine_->read(from.tier, from.offset, to);
}

void Executor::write(std::string_view name, std::span<const std::byte> from) const {
  const plan::CatalogEntry& to = entry(name);
  require(from.size() == to.type.bytes(), "{} is {}, written from {} bytes", name,
          to_string(to.type), from.size());
  engine_->write(to.tier, to.offset, from);
}

TensorBytes Executor::data(std::string_view program, std::string_view name) const {
  const std::size_t index = index_of(program);
  const std::vector<plan::Port>& ports = plan_.programs[index].data;
  const auto port = find_port(ports, name);
  require(port.has_value(), "program {} takes no data {}", program, name);
  return {ports[*port].type, engine_->data(index, *port)};
}

TensorBytes Executor::result(std::string_view program, std::string_view name) const {
  const std::size_t port = result_port(program, name);
  const Ticket latest = engine_->latest(index_of(program));
  require(latest.number > 0, "program {} has not run: it has no result {} yet", program, name);
  return result(latest, port);
}

std::size_t Executor::result_port(std::string_view program, std::string_view name) const {
  const auto port = find_port(plan_.programs[index_of(program)].results, name);
  require(port.has_value(), "program {} has no result {}", program, name);
  return *port;
}

TensorBytes Executor::result(const Ticket& run, std::size_t port) const {
  return {plan_.programs[run.program].results[port].type, engine_->result(run, port)};
}

}  // namespace bessemer::runtime
