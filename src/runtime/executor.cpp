#include "runtime/executor.h"

#include <chrono>
#include <cstring>

#include "base/error.h"

namespace bessemer::runtime {
namespace {

const plan::Port* find_port(const std::vector<plan::Port>& ports, std::string_view name) {
  for (const plan::Port& port : ports) {
    if (port.name == name) return &port;
  }
  return nullptr;
}

bool has_other_streams(const plan::Plan& plan) {
  for (const plan::Program& program : plan.programs) {
    for (const plan::Instruction& instruction : program.instructions) {
      if (instruction.stream != plan::Stream::compute) return true;
    }
  }
  return false;
}

// Who works on the file: the two streams that move.
constexpr std::size_t kFileUsers = 2;
std::size_t file_user(plan::Stream stream) { return stream == plan::Stream::fetch ? 0 : 1; }

std::shared_ptr<const Arena> zeroed_arena(std::shared_ptr<const Arena> given, std::size_t bytes) {
  if (!given) return std::make_shared<const Arena>(bytes);
  require(given->size() >= bytes, "the plan needs {} bytes, the given arena has {}", bytes,
          given->size());
  if (bytes > 0) std::memset(given->data(), 0, bytes);
  return given;
}

}  // namespace

Executor::Executor(const plan::Plan& plan, const ExecutorOptions& options)
    : plan_(plan),
      device_(zeroed_arena(options.device_arena, plan.arena_bytes)),
      host_(plan.host.arena_bytes) {
  if (plan.file.arena_bytes > 0) {
    require(!options.file_directory.empty(),
            "the plan uses the file tier, and no directory is given");
    file_ = std::make_unique<TierFile>(options.file_directory, plan.file.arena_bytes, kFileUsers,
                                       options.file_queue);
  }
  for (const plan::Program& program : plan.programs) parts_.push_back(parts_of(program));
  sides_.push_back(bind_all({}));
  if (!plan.exchanges.empty()) {
    exchanged_ = plan::Exchanged(plan);
    sides_.push_back(bind_all(exchanged_));
  }
  if (options.streams == ExecutorOptions::Streams::in_order || !has_other_streams(plan)) return;
  team_ = std::make_unique<StreamTeam>(
      [this](std::size_t program, std::size_t instruction) { execute(program, instruction); });
}

Executor::Side Executor::bind_all(const plan::Exchanged& exchanged) const {
  Side programs;
  for (const plan::Program& program : plan_.programs) {
    std::vector<Bound>& bound = programs.emplace_back();
    bound.reserve(program.instructions.size());
    for (const plan::Instruction& instruction : program.instructions) {
      bound.push_back(bind(instruction, exchanged));
    }
  }
  return programs;
}

Executor::Bound Executor::bind(const plan::Instruction& instruction,
                               const plan::Exchanged& exchanged) const {
  Bound b{instruction.run.get(), {}, {}, nullptr, instruction.file};
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
  return (place.tier == ir::Tier::host ? host_ : *device_).data() + place.offset;
}

Executor::ProgramHandle Executor::find(std::string_view program) const {
  ProgramHandle handle;
  for (std::size_t i = 0; i < plan_.programs.size(); ++i) {
    if (plan_.programs[i].name == program) handle.index_ = static_cast<int>(i);
  }
  return handle;
}

void Executor::run(ProgramHandle program) const {
  const auto index = static_cast<std::size_t>(program.index_);
  if (team_) return team_->run(index, plan_.programs[index].instructions, parts_[index]);
  for (std::size_t i = 0; i < sides_[side_][index].size(); ++i) execute(index, i);
}

void Executor::execute(std::size_t program, std::size_t instruction) const {
  const Bound& b = sides_[side_][program][instruction];
  if (b.kernel != nullptr) {
    b.kernel->run({b.operands, b.results, b.scratch});
  } else {
    transfer(*b.file, plan_.programs[program].instructions[instruction].stream);
  }
}

void Executor::transfer(const plan::FileTransfer& transfer, plan::Stream stream) const {
  const std::span memory(at({transfer.device_offset}), transfer.bytes);
  if (transfer.direction == plan::FileTransfer::Direction::read) {
    file_->read(file_user(stream), transfer.file_offset, memory);
  } else {
    file_->write(file_user(stream), transfer.file_offset, memory);
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
  const auto index = static_cast<std::size_t>(program.index_);
  for (std::size_t i = 0; i < sides_[side_][index].size(); ++i) {
    const auto start = Clock::now();
    execute(index, i);
    after(i, std::chrono::duration<double>(Clock::now() - start).count());
  }
}

const plan::CatalogEntry& Executor::entry(std::string_view name) const {
  const plan::CatalogEntry* entry = plan_.find_tensor(name);
  require(entry != nullptr, "the plan has no tensor {}", name);
  if (side_ == 0) return *entry;
  return plan_.catalog[exchanged_.entry(static_cast<std::size_t>(entry - plan_.catalog.data()))];
}

TensorBytes Executor::tensor(std::string_view name) const {
  const plan::CatalogEntry& found = entry(name);
  return {found.type, at({found.offset, found.tier})};
}

void Executor::read(std::string_view name, std::span<std::byte> to) const {
  const plan::CatalogEntry& from = entry(name);
  require(to.size() == from.type.bytes(), "{} is {}, read to {} bytes", name, to_string(from.type),
          to.size());
  if (from.tier == ir::Tier::file) return file_->read(0, from.offset, to);
  std::memcpy(to.data(), at({from.offset, from.tier}), to.size());
}

void Executor::write(std::string_view name, std::span<const std::byte> from) const {
  const plan::CatalogEntry& to = entry(name);
  require(from.size() == to.type.bytes(), "{} is {}, written from {} bytes", name,
          to_string(to.type), from.size());
  if (to.tier == ir::Tier::file) return file_->write(0, to.offset, from);
  std::memcpy(at({to.offset, to.tier}), from.data(), from.size());
}

TensorBytes Executor::data(std::string_view program, std::string_view name) const {
  const plan::Port* port = find_port(plan_.program(program).data, name);
  require(port != nullptr, "program {} takes no data {}", program, name);
  return {port->type, at({port->offset})};
}

TensorBytes Executor::result(std::string_view program, std::string_view name) const {
  const plan::Port* port = find_port(plan_.program(program).results, name);
  require(port != nullptr, "program {} has no result {}", program, name);
  // It may lie in a tensor that the program also writes.
  return {port->type, at({side_ == 0 ? port->offset : exchanged_.offset({port->offset})})};
}

}  // namespace bessemer::runtime
