#include "runtime/cpu_engine.h"

#include <chrono>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"

namespace bessemer::runtime {
namespace {

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

CpuEngine::CpuEngine(const plan::Plan& plan, const ExecutorOptions& options)
    : plan_(plan),
      device_(zeroed_arena(options.device_arena, plan.arena_bytes)),
      host_(plan.host.arena_bytes) {
  load_kernels(plan);
  if (plan.file.arena_bytes > 0) {
    require(!options.file_directory.empty(),
            "the plan uses the file tier, and no directory is given");
    file_ = std::make_unique<TierFile>(options.file_directory, plan.file.arena_bytes, kFileUsers,
                                       options.file_queue);
  }
  for (const plan::Program& program : plan.programs) parts_.push_back(parts_of(program));
  if (options.streams == ExecutorOptions::Streams::in_order || !has_other_streams(plan)) return;
  team_ = std::make_unique<StreamTeam>(
      [this](std::size_t program, std::size_t instruction) { execute(program, instruction); });
}

std::byte* CpuEngine::arena(ir::Tier tier) const {
  if (tier == ir::Tier::file) return nullptr;
  return (tier == ir::Tier::host ? host_ : *device_).data();
}

void CpuEngine::bind(std::vector<BoundPlan> sides) {
  sides_ = std::move(sides);
  latest_.resize(plan_.programs.size());
}

Ticket CpuEngine::run(std::size_t side, std::size_t program) {
  side_ = side;
  if (team_) {
    team_->run(program, plan_.programs[program].instructions, parts_[program]);
  } else {
    for (std::size_t i = 0; i < sides_[side][program].instructions.size(); ++i) execute(program, i);
  }
  return ran(side, program);
}

Ticket CpuEngine::ran(std::size_t side, std::size_t program) {
  latest_[program] = {latest_[program].number + 1, side};
  return latest(program);
}

void CpuEngine::run_profiled(std::size_t side, std::size_t program, const AfterInstruction& after) {
  using Clock = std::chrono::steady_clock;
  side_ = side;
  for (std::size_t i = 0; i < sides_[side][program].instructions.size(); ++i) {
    const auto start = Clock::now();
    execute(program, i);
    after(i, std::chrono::duration<double>(Clock::now() - start).count());
  }
  ran(side, program);
}

void CpuEngine::execute(std::size_t program, std::size_t instruction) {
  const BoundInstruction& b = sides_[side_][program].instructions[instruction];
  if (b.kernel != nullptr) {
    b.kernel->run({b.operands, b.results, b.scratch});
  } else {
    transfer(*b.file, plan_.programs[program].instructions[instruction].stream);
  }
}

void CpuEngine::transfer(const plan::FileTransfer& transfer, plan::Stream stream) {
  const std::span memory(device_->data() + transfer.device_offset, transfer.bytes);
  if (transfer.direction == plan::FileTransfer::Direction::read) {
    file_->read(file_user(stream), transfer.file_offset, memory);
  } else {
    file_->write(file_user(stream), transfer.file_offset, memory);
  }
}

void CpuEngine::read(ir::Tier tier, std::size_t offset, std::span<std::byte> to) {
  if (tier == ir::Tier::file) return file_->read(0, offset, to);
  copy_bytes(to.data(), arena(tier) + offset, to.size());
}

void CpuEngine::write(ir::Tier tier, std::size_t offset, std::span<const std::byte> from) {
  if (tier == ir::Tier::file) return file_->write(0, offset, from);
  copy_bytes(arena(tier) + offset, from.data(), from.size());
}

std::byte* CpuEngine::data(std::size_t program, std::size_t port) const {
  return sides_[0][program].data[port];
}

std::byte* CpuEngine::result(const Ticket& run, std::size_t port) {
  const Latest& latest = latest_[run.program];
  require(run.number == latest.number, "the results of run {} of program {} are gone: it ran again",
          run.number, plan_.programs[run.program].name);
  return sides_[latest.side][run.program].results[port];
}

}  // namespace bessemer::runtime
