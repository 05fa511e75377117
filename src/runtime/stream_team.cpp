#include "runtime/stream_team.h"

#include <utility>

namespace bessemer::runtime {

namespace {

constexpr std::size_t kCompute = static_cast<std::size_t>(plan::Stream::compute);

}  // namespace

StreamParts parts_of(const plan::Program& program) {
  StreamParts parts;
  for (std::size_t i = 0; i < program.instructions.size(); ++i) {
    parts[static_cast<std::size_t>(program.instructions[i].stream)].push_back(i);
  }
  return parts;
}

StreamTeam::StreamTeam(Execute execute) : execute_(std::move(execute)) {
  for (std::size_t s = 0; s < plan::kStreams; ++s) {
    if (s != kCompute) threads_.emplace_back([this, s] { work(s); });
  }
}

StreamTeam::~StreamTeam() {
  leaving_ = true;
  for (std::size_t s = 0; s < plan::kStreams; ++s) {
    started_[s].fetch_add(1);
    started_[s].notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

void StreamTeam::run(std::size_t program, const std::vector<plan::Instruction>& instructions,
                     const StreamParts& parts) {
  program_ = program;
  instructions_ = &instructions;
  parts_ = &parts;
  stopped_ = false;
  for (auto& done : done_) done = 0;
  for (std::size_t s = 0; s < plan::kStreams; ++s) {
    if (s == kCompute || parts[s].empty()) continue;
    started_[s].fetch_add(1);
    started_[s].notify_one();
  }
  run_part(kCompute);
  for (std::size_t s = 0; s < plan::kStreams; ++s) {
    const std::uint32_t started = started_[s];
    for (std::uint32_t finished = finished_[s]; finished != started; finished = finished_[s]) {
      finished_[s].wait(finished);
    }
  }
  if (stopped_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void StreamTeam::work(std::size_t stream) {
  for (std::uint32_t programs = 0;; ++programs) {
    started_[stream].wait(programs);
    if (leaving_) return;
    run_part(stream);
    finished_[stream].fetch_add(1);
    finished_[stream].notify_one();
  }
}

void StreamTeam::run_part(std::size_t stream) {
  try {
    for (const std::size_t i : (*parts_)[stream]) {
      for (const plan::Wait& wait : (*instructions_)[i].waits) {
        if (!wait_for(wait)) return;
      }
      if (stopped_.load(std::memory_order_relaxed)) return;
      execute_(program_, i);
      done_[stream].fetch_add(1, std::memory_order_release);
      done_[stream].notify_all();
    }
  } catch (...) {
    stop_all(std::current_exception());
  }
}

// False where that will not happen any more.
bool StreamTeam::wait_for(const plan::Wait& wait) {
  auto& counter = done_[static_cast<std::size_t>(wait.stream)];
  for (;;) {
    const std::uint32_t done = counter.load(std::memory_order_acquire);
    if (stopped_) return false;
    if (done >= wait.count) return true;
    counter.wait(done);
  }
}

void StreamTeam::stop_all(std::exception_ptr error) {
  const std::scoped_lock lock(error_mutex_);
  if (stopped_) return;
  error_ = std::move(error);
  stopped_ = true;
  for (auto& done : done_) {
    done.fetch_add(1);  // the value must change for a waiter to look again
    done.notify_all();
  }
}

}  // namespace bessemer::runtime
