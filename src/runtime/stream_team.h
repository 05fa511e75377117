// Runs a program's streams beside each other: the arithmetic on the caller's thread, each other
// stream on a thread of its own that sleeps between programs.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "plan/plan.h"

namespace bessemer::runtime {

/// The part of a program that one stream runs: indices of its instructions, in order.
using StreamParts = std::array<std::vector<std::size_t>, plan::kStreams>;

StreamParts parts_of(const plan::Program& program);

class StreamTeam {
 public:
  /// Executes an instruction of a program, both by number. May throw.
  using Execute = std::function<void(std::size_t program, std::size_t instruction)>;

  explicit StreamTeam(Execute execute);
  StreamTeam(const StreamTeam&) = delete;
  StreamTeam& operator=(const StreamTeam&) = delete;
  ~StreamTeam();

  /// Runs the whole program and returns when all streams are done. Where an instruction throws, all
  /// streams stop before their next one, and its error is thrown here. No allocation unless one
  /// throws.
  void run(std::size_t program, const std::vector<plan::Instruction>& instructions,
           const StreamParts& parts);

 private:
  void work(std::size_t stream);
  void run_part(std::size_t stream);
  bool wait_for(const plan::Wait& wait);
  void stop_all(std::exception_ptr error);

  Execute execute_;
  std::size_t program_ = 0;
  const std::vector<plan::Instruction>* instructions_ = nullptr;
  const StreamParts* parts_ = nullptr;
  std::array<std::atomic<std::uint32_t>, plan::kStreams> done_{};  // instructions of this program
  std::array<std::atomic<std::uint32_t>, plan::kStreams> started_{};   // programs
  std::array<std::atomic<std::uint32_t>, plan::kStreams> finished_{};  // programs
  std::atomic<bool> stopped_ = false;                                  // an instruction threw
  std::atomic<bool> leaving_ = false;
  std::mutex error_mutex_;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

}  // namespace bessemer::runtime
