// The engine of a CUDA device: one arena on the device, one in page-locked memory of the host. The
// plan's streams are CUDA streams, its waits are events.
//
// A program's first run is queued instruction by instruction; its second is captured into a CUDA
// graph, which that and every later run launches. Nothing waits for the device but who asks for
// what it makes: the data of a run are taken to page-locked memory of that run, from which they are
// copied before the graph and to which its results are copied after it. A program has a ring of
// kRunsKept such places; whoever runs it once more waits for the oldest of these runs.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "base/arena.h"
#include "kernels/cuda/device.h"
#include "runtime/engine.h"

namespace bessemer::runtime {

class CudaEngine final : public Engine {
 public:
  /// Error where the device has not the memory, or the plan has a file tier, which no stream of
  /// the device reaches.
  CudaEngine(const plan::Plan& plan, std::shared_ptr<kernels::cuda::Device> device);
  ~CudaEngine() override;

  std::byte* arena(ir::Tier tier) const override;
  bool is_addressable(ir::Tier tier) const override { return tier == ir::Tier::host; }
  void bind(std::vector<BoundPlan> sides) override;
  bool is_asynchronous() const override { return true; }
  Ticket run(std::size_t side, std::size_t program) override;
  void run_profiled(std::size_t side, std::size_t program, const AfterInstruction& after) override;
  Ticket latest(std::size_t program) const override { return {program, rings_[program].runs}; }
  bool is_done(const Ticket& run) const override;
  void finish() override;
  void read(ir::Tier tier, std::size_t offset, std::span<std::byte> to) override;
  void write(ir::Tier tier, std::size_t offset, std::span<const std::byte> from) override;
  std::byte* data(std::size_t program, std::size_t port) const override;
  std::byte* result(const Ticket& run, std::size_t port) override;

 private:
  /// Page-locked memory for the ports of one run, and the event after it.
  struct Slot {
    std::vector<std::byte*> data, results;
    kernels::cuda::Event done = nullptr;
  };
  /// The runs of a program take turns with its slots.
  struct Ring {
    std::vector<std::byte*> data;  // what the next run will take
    std::array<Slot, kRunsKept> slots;
    std::uint64_t runs = 0;

    const Slot& slot(std::uint64_t run) const { return slots[run % kRunsKept]; }
    bool has(std::uint64_t run) const { return run + kRunsKept > runs; }
  };
  /// What is recorded while a program is queued. Null where nobody waits for it.
  struct Events {
    kernels::cuda::Event start = nullptr;
    std::vector<kernels::cuda::Event> after;  // by instruction
  };
  /// How far a program of one side has come.
  struct Runs {
    bool once = false;
    kernels::cuda::Graph graph = nullptr;
  };

  void make_rings();
  void make_events();
  const Slot& take_data(std::size_t side, std::size_t program);
  void wait_for(const Slot& slot);
  void give_results(std::size_t side, std::size_t program, const Slot& slot);
  std::vector<std::size_t> waited_for(const plan::Program& program) const;
  void queue(std::size_t side, std::size_t program);
  void queue_instruction(std::size_t side, std::size_t program, std::size_t instruction);
  kernels::cuda::Stream stream(plan::Stream which) const {
    return streams_[static_cast<std::size_t>(which)];
  }

  const plan::Plan& plan_;
  std::shared_ptr<kernels::cuda::Device> device_;
  std::byte* device_arena_ = nullptr;
  std::byte* host_arena_ = nullptr;
  std::byte* slot_memory_ = nullptr;
  Arena next_data_;
  std::array<kernels::cuda::Stream, plan::kStreams> streams_{};
  std::vector<BoundPlan> sides_;
  std::vector<std::array<std::vector<std::size_t>, plan::kStreams>> parts_;  // by program
  std::vector<Ring> rings_;                                                  // by program
  std::vector<Events> events_;                                               // by program
  kernels::cuda::Event profile_end_ = nullptr;
  std::vector<std::vector<Runs>> runs_;  // by side and program
};

}  // namespace bessemer::runtime
