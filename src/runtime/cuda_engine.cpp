#include "runtime/cuda_engine.h"

#include <cstring>

#include "base/error.h"
#include "runtime/stream_team.h"

namespace bessemer::runtime {
namespace {

using kernels::cuda::Stream;

/// Gives out memory piece by piece; where there is none yet, it only counts.
class Pieces {
 public:
  explicit Pieces(std::byte* memory = nullptr) : memory_(memory) {}

  std::vector<std::byte*> of(const std::vector<plan::Port>& ports) {
    std::vector<std::byte*> pieces;
    for (const plan::Port& port : ports) {
      pieces.push_back(memory_ == nullptr ? nullptr : memory_ + bytes_);
      bytes_ += align_up(port.type.bytes());
    }
    return pieces;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::byte* memory_;
  std::size_t bytes_ = 0;
};

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
  make_rings();
  make_events();
  profile_end_ = device_->new_event();
}

CudaEngine::~CudaEngine() {
  try {
    finish();
  } catch (const std::exception&) {  // who asked for a run's results has been told
  }
  device_->free(device_arena_);
  device_->free_host(host_arena_);
  device_->free_host(slot_memory_);
}

void CudaEngine::make_rings() {
  Pieces data, slots;
  for (const plan::Program& program : plan_.programs) {
    data.of(program.data);
    slots.of(program.data);
    slots.of(program.results);
  }
  next_data_ = Arena(data.bytes());
  slot_memory_ = static_cast<std::byte*>(device_->allocate_host(kRunsKept * slots.bytes()));
  data = Pieces(next_data_.data());
  slots = Pieces(slot_memory_);
  for (const plan::Program& program : plan_.programs) {
    Ring& ring = rings_.emplace_back();
    ring.data = data.of(program.data);
    for (Slot& slot : ring.slots) {
      slot = {slots.of(program.data), slots.of(program.results), device_->new_event()};
    }
  }
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

Ticket CudaEngine::run(std::size_t side, std::size_t program) {
  Runs& runs = runs_[side][program];
  const Stream compute = stream(plan::Stream::compute);
  const Slot& slot = take_data(side, program);
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
  give_results(side, program, slot);
  return latest(program);
}

// The slot is that of the run kRunsKept before, which must be over.
const CudaEngine::Slot& CudaEngine::take_data(std::size_t side, std::size_t program) {
  Ring& ring = rings_[program];
  const Slot& slot = ring.slot(ring.runs + 1);
  if (ring.runs >= kRunsKept) wait_for(slot);
  ++ring.runs;
  const std::vector<plan::Port>& ports = plan_.programs[program].data;
  for (std::size_t p = 0; p < ports.size(); ++p) {
    const std::size_t bytes = ports[p].type.bytes();
    std::memcpy(slot.data[p], ring.data[p], bytes);
    kernels::cuda::copy(sides_[side][program].data[p], slot.data[p], bytes,
                        stream(plan::Stream::compute));
  }
  return slot;
}

void CudaEngine::give_results(std::size_t side, std::size_t program, const Slot& slot) {
  const Stream compute = stream(plan::Stream::compute);
  const std::vector<plan::Port>& ports = plan_.programs[program].results;
  for (std::size_t p = 0; p < ports.size(); ++p) {
    kernels::cuda::copy(slot.results[p], sides_[side][program].results[p], ports[p].type.bytes(),
                        compute);
  }
  device_->record(slot.done, compute);
}

// Everything leaves from the compute stream and comes back to it, so that whoever waits for it has
// waited for all.
void CudaEngine::queue(std::size_t side, std::size_t program) {
  const Events& events = events_[program];
  const Stream compute = stream(plan::Stream::compute);
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
  const Slot& slot = take_data(side, program);
  const std::vector<BoundInstruction>& instructions = sides_[side][program].instructions;
  for (std::size_t i = 0; i < instructions.size(); ++i) {
    const BoundInstruction& bound = instructions[i];
    device_->record(begin, compute);
    bound.kernel->run({bound.operands, bound.results, bound.scratch, compute});
    device_->record(profile_end_, compute);
    device_->synchronize(compute);
    after(i, device_->seconds(begin, profile_end_));
  }
  give_results(side, program, slot);
  finish();
}

bool CudaEngine::is_done(const Ticket& run) const {
  const Ring& ring = rings_[run.program];
  return !ring.has(run.number) || device_->is_there(ring.slot(run.number).done);
}

void CudaEngine::wait_for(const Slot& slot) {
  if (!device_->is_there(slot.done)) device_->wait_for(slot.done);
}

// Every program's other streams are joined to this one.
void CudaEngine::finish() { device_->synchronize(stream(plan::Stream::compute)); }

void CudaEngine::read(ir::Tier tier, std::size_t offset, std::span<std::byte> to) {
  kernels::cuda::copy(to.data(), arena(tier) + offset, to.size(), stream(plan::Stream::compute));
  finish();
}

void CudaEngine::write(ir::Tier tier, std::size_t offset, std::span<const std::byte> from) {
  kernels::cuda::copy(arena(tier) + offset, from.data(), from.size(),
                      stream(plan::Stream::compute));
  finish();
}

std::byte* CudaEngine::data(std::size_t program, std::size_t port) const {
  return rings_[program].data[port];
}

std::byte* CudaEngine::result(const Ticket& run, std::size_t port) {
  const Ring& ring = rings_[run.program];
  require(ring.has(run.number),
          "the results of run {} of program {} are gone: it ran {} times more", run.number,
          plan_.programs[run.program].name, ring.runs - run.number);
  const Slot& slot = ring.slot(run.number);
  wait_for(slot);
  return slot.results[port];
}

}  // namespace bessemer::runtime
