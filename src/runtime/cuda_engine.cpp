#include "runtime/cuda_engine.h"

#include <chrono>

#include "base/arena.h"
#include "base/error.h"
#include "runtime/stream_team.h"

namespace bessemer::runtime {
namespace {

using kernels::cuda::Stream;

template <typename Visit>
void for_each_port(const plan::Plan& plan, const Visit& visit) {
  for (std::size_t p = 0; p < plan.programs.size(); ++p) {
    for (const plan::Port& port : plan.programs[p].data) visit(p, port, true);
    for (const plan::Port& port : plan.programs[p].results) visit(p, port, false);
  }
}

void require_runnable(const plan::Plan& plan) {
  require(plan.file.arena_bytes == 0, "a plan for a CUDA device has no file tier");
  for (const plan::Program& program : plan.programs) {
    for (const plan::Instruction& instruction : program.instructions) {
      require(instruction.backend == kernels::Backend::cuda,
              "{} ({}) would run on the processor, beside the device's streams", instruction.op,
              instruction.label);
    }
  }
}

}  // namespace

CudaEngine::CudaEngine(const plan::Plan& plan, std::shared_ptr<kernels::cuda::Device> device)
    : plan_(plan), device_(std::move(device)) {
  require_runnable(plan);
  load_kernels(plan);
  device_arena_ = static_cast<std::byte*>(device_->allocate(plan.arena_bytes));
  host_arena_ = static_cast<std::byte*>(device_->allocate_host(plan.host.arena_bytes));
  for (Stream& stream : streams_) stream = device_->new_stream();
  for (const plan::Program& program : plan.programs) parts_.push_back(parts_of(program));
  make_mirrors();
  make_events();
  profile_end_ = device_->new_event();
}

CudaEngine::~CudaEngine() {
  device_->free(device_arena_);
  device_->free_host(host_arena_);
  device_->free_host(mirror_memory_);
}

void CudaEngine::make_mirrors() {
  std::size_t bytes = 0;
  for_each_port(plan_, [&](std::size_t, const plan::Port& port, bool) {
    bytes += align_up(port.type.bytes());
  });
  mirror_memory_ = static_cast<std::byte*>(device_->allocate_host(bytes));
  mirrors_.resize(plan_.programs.size());
  std::byte* next = mirror_memory_;
  for_each_port(plan_, [&](std::size_t program, const plan::Port& port, bool is_data) {
    (is_data ? mirrors_[program].data : mirrors_[program].results).push_back(next);
    next += align_up(port.type.bytes());
  });
}

// Instructions that another stream waits for, and those that a stream other than compute ends
// with, which the end of the program waits for.
std::vector<std::size_t> CudaEngine::waited_for(const plan::Program& program) const {
  const auto& parts = parts_[static_cast<std::size_t>(&program - plan_.programs.data())];
  std::vector<std::size_t> waited;
  for (const plan::Instruction& instruction : program.instructions) {
    for (const plan::Wait& wait : instruction.waits) {
      if (wait.count == 0) continue;
      waited.push_back(parts[static_cast<std::size_t>(wait.stream)][wait.count - 1]);
    }
  }
  for (const plan::Stream other : {plan::Stream::fetch, plan::Stream::store}) {
    const auto& part = parts[static_cast<std::size_t>(other)];
    if (!part.empty()) waited.push_back(part.back());
  }
  return waited;
}

void CudaEngine::make_events() {
  for (const plan::Program& program : plan_.programs) {
    Events& events = events_.emplace_back();
    events.start = device_->new_event();
    events.after.resize(program.instructions.size());
    for (const std::size_t i : waited_for(program)) {
      if (events.after[i] == nullptr) events.after[i] = device_->new_event();
    }
  }
}

std::byte* CudaEngine::arena(ir::Tier tier) const {
  if (tier == ir::Tier::file) return nullptr;
  return tier == ir::Tier::host ? host_arena_ : device_arena_;
}

void CudaEngine::bind(std::vector<BoundPlan> sides) {
  sides_ = std::move(sides);
  runs_.assign(sides_.size(), std::vector<Runs>(plan_.programs.size()));
}

void CudaEngine::run(std::size_t side, std::size_t program) {
  Runs& runs = runs_[side][program];
  const Stream compute = stream(plan::Stream::compute);
  if (!runs.once) {
    queue(side, program);
    runs.once = true;
  } else {
    if (runs.graph == nullptr) {
      device_->begin_capture(compute);
      queue(side, program);
      runs.graph = device_->end_capture(compute);
    }
    device_->launch(runs.graph, compute);
  }
  device_->synchronize(compute);
}

// Everything leaves from the compute stream and comes back to it, so that whoever waits for it has
// waited for all.
void CudaEngine::queue(std::size_t side, std::size_t program) {
  const Events& events = events_[program];
  const Stream compute = stream(plan::Stream::compute);
  copy_data(side, program);
  device_->record(events.start, compute);
  for (const plan::Stream other : {plan::Stream::fetch, plan::Stream::store}) {
    if (parts_[program][static_cast<std::size_t>(other)].empty()) continue;
    device_->wait(stream(other), events.start);
  }
  for (std::size_t i = 0; i < sides_[side][program].instructions.size(); ++i) {
    queue_instruction(side, program, i);
  }
  for (const plan::Stream other : {plan::Stream::fetch, plan::Stream::store}) {
    const auto& part = parts_[program][static_cast<std::size_t>(other)];
    if (!part.empty()) device_->wait(compute, events.after[part.back()]);
  }
  copy_results(side, program);
}

void CudaEngine::copy_data(std::size_t side, std::size_t program) {
  const std::vector<plan::Port>& ports = plan_.programs[program].data;
  for (std::size_t p = 0; p < ports.size(); ++p) {
    kernels::cuda::copy(sides_[side][program].data[p], mirrors_[program].data[p],
                        ports[p].type.bytes(), stream(plan::Stream::compute));
  }
}

void CudaEngine::copy_results(std::size_t side, std::size_t program) {
  const std::vector<plan::Port>& ports = plan_.programs[program].results;
  for (std::size_t p = 0; p < ports.size(); ++p) {
    kernels::cuda::copy(mirrors_[program].results[p], sides_[side][program].results[p],
                        ports[p].type.bytes(), stream(plan::Stream::compute));
  }
}

void CudaEngine::queue_instruction(std::size_t side, std::size_t program, std::size_t instruction) {
  const plan::Instruction& planned = plan_.programs[program].instructions[instruction];
  const BoundInstruction& bound = sides_[side][program].instructions[instruction];
  const Events& events = events_[program];
  const Stream own = stream(planned.stream);
  for (const plan::Wait& wait : planned.waits) {
    if (wait.count == 0) continue;
    const auto& part = parts_[program][static_cast<std::size_t>(wait.stream)];
    device_->wait(own, events.after[part[wait.count - 1]]);
  }
  bound.kernel->run({bound.operands, bound.results, bound.scratch, own});
  if (events.after[instruction] != nullptr) device_->record(events.after[instruction], own);
}

void CudaEngine::run_profiled(std::size_t side, std::size_t program,
                              const AfterInstruction& after) {
  const Stream compute = stream(plan::Stream::compute);
  const kernels::cuda::Event begin = events_[program].start;
  copy_data(side, program);
  const std::vector<BoundInstruction>& instructions = sides_[side][program].instructions;
  for (std::size_t i = 0; i < instructions.size(); ++i) {
    const BoundInstruction& bound = instructions[i];
    device_->record(begin, compute);
    bound.kernel->run({bound.operands, bound.results, bound.scratch, compute});
    device_->record(profile_end_, compute);
    device_->synchronize(compute);
    after(i, device_->seconds(begin, profile_end_));
  }
  copy_results(side, program);
  device_->synchronize(compute);
}

void CudaEngine::read(ir::Tier tier, std::size_t offset, std::span<std::byte> to) {
  kernels::cuda::copy(to.data(), arena(tier) + offset, to.size(), stream(plan::Stream::compute));
  device_->synchronize(stream(plan::Stream::compute));
}

void CudaEngine::write(ir::Tier tier, std::size_t offset, std::span<const std::byte> from) {
  kernels::cuda::copy(arena(tier) + offset, from.data(), from.size(),
                      stream(plan::Stream::compute));
  device_->synchronize(stream(plan::Stream::compute));
}

std::byte* CudaEngine::data(std::size_t program, std::size_t port) const {
  return mirrors_[program].data[port];
}

std::byte* CudaEngine::result(std::size_t, std::size_t program, std::size_t port) const {
  return mirrors_[program].results[port];
}

}  // namespace bessemer::runtime
