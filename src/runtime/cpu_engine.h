// The engine of the processor: arenas in this process's memory, kernels called one after the
// other, transfers on threads of their own.
#pragma once

#include "base/arena.h"
#include "runtime/engine.h"
#include "runtime/executor.h"
#include "runtime/stream_team.h"
#include "runtime/tier_file.h"

namespace bessemer::runtime {

class CpuEngine final : public Engine {
 public:
  CpuEngine(const plan::Plan& plan, const ExecutorOptions& options);

  std::byte* arena(ir::Tier tier) const override;
  bool is_addressable(ir::Tier tier) const override { return tier != ir::Tier::file; }
  void bind(std::vector<BoundPlan> sides) override;
  bool is_asynchronous() const override { return false; }
  Ticket run(std::size_t side, std::size_t program) override;
  void run_profiled(std::size_t side, std::size_t program, const AfterInstruction& after) override;
  Ticket latest(std::size_t program) const override { return {program, latest_[program].number}; }
  bool is_done(const Ticket&) const override { return true; }
  void finish() override {}
  void read(ir::Tier tier, std::size_t offset, std::span<std::byte> to) override;
  void write(ir::Tier tier, std::size_t offset, std::span<const std::byte> from) override;
  std::byte* data(std::size_t program, std::size_t port) const override;
  std::byte* result(const Ticket& run, std::size_t port) override;

 private:
  /// The latest run of a program.
  struct Latest {
    std::uint64_t number = 0;
    std::size_t side = 0;
  };

  Ticket ran(std::size_t side, std::size_t program);
  void execute(std::size_t program, std::size_t instruction);
  void transfer(const plan::FileTransfer& transfer, plan::Stream stream);

  const plan::Plan& plan_;
  std::shared_ptr<const Arena> device_;
  Arena host_;
  std::unique_ptr<TierFile> file_;
  std::vector<BoundPlan> sides_;
  std::size_t side_ = 0;        // of the program that runs
  std::vector<Latest> latest_;  // by program
  std::vector<StreamParts> parts_;
  std::unique_ptr<StreamTeam> team_;  // null: everything in program order
};

}  // namespace bessemer::runtime
