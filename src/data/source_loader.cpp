#include "data/source_loader.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"

namespace bessemer::data {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

struct Job {
  std::uint64_t ticket = 0, index = 0;
  int failures = 0;  // in a row
};

// A queue whose memory is there from the beginning.
class JobQueue {
 public:
  explicit JobQueue(std::size_t most) : jobs_(most) {}
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  void push_back(const Job& job) { jobs_[(first_ + size_++) % jobs_.size()] = job; }
  void push_front(const Job& job) {
    first_ = (first_ + jobs_.size() - 1) % jobs_.size();
    jobs_[first_] = job;
    ++size_;
  }
  Job pop_front() {
    const Job job = jobs_[first_];
    first_ = (first_ + 1) % jobs_.size();
    --size_;
    return job;
  }

 private:
  std::vector<Job> jobs_;
  std::size_t first_ = 0, size_ = 0;
};

std::string text_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an unknown error";
  }
}

// The user's mistake stays one.
std::exception_ptr with_text(const std::exception_ptr& cause, const std::string& text) {
  try {
    std::rethrow_exception(cause);
  } catch (const InputError&) {
    return std::make_exception_ptr(InputError(text));
  } catch (...) {
    return std::make_exception_ptr(Error(text));
  }
}

}  // namespace

struct SourceLoader::Worker {
  std::thread thread;
  std::shared_ptr<RowReader> reader;
  Job job;
  Clock::time_point since;  // when it began to read
  bool reading = false;
  bool cancelled = false;    // it took too long and was ended
  bool left_behind = false;  // it took too long and could not be: its job is not its own any more
};

// What the workers share. Everything is guarded by `mutex`.
struct SourceLoader::State {
  State(SourceName its_name, MakeReader make, WorkerPolicy its_policy, std::size_t requests,
        RowSink& to)
      : name(std::move(its_name)),
        make_reader(std::move(make)),
        policy(its_policy),
        sink(to),
        queue(requests) {}

  bool take_job(std::unique_lock<std::mutex>& lock, Worker& worker);
  void handle_failure(std::unique_lock<std::mutex>& lock, Job job, std::exception_ptr cause);
  void measure(double read_seconds);
  void retire(Worker& worker);
  void end_reads(std::unique_lock<std::mutex>& lock);

  const SourceName name;
  const MakeReader make_reader;
  const WorkerPolicy policy;
  RowSink& sink;
  std::mutex mutex;
  std::condition_variable changed;
  JobQueue queue;
  std::vector<std::shared_ptr<Worker>> workers;
  std::vector<std::thread> ended;  // retired, to be joined
  int wanted = 1;
  bool stop = false;
  SourceStatus status;
};

SourceLoader::SourceLoader(SourceName name, MakeReader make_reader, WorkerPolicy policy,
                           std::size_t requests, RowSink& sink)
    : name_(name),
      state_(std::make_shared<State>(std::move(name), std::move(make_reader), policy, requests,
                                     sink)) {}

SourceLoader::~SourceLoader() {
  std::vector<std::thread> threads;
  {
    std::unique_lock lock(state_->mutex);
    state_->stop = true;
    state_->changed.notify_all();
    state_->end_reads(lock);
    for (const auto& worker : state_->workers) {
      worker->left_behind = worker->reading;
      if (worker->left_behind) {
        worker->thread.detach();
      } else {
        threads.push_back(std::move(worker->thread));
      }
    }
    for (std::thread& thread : state_->ended) threads.push_back(std::move(thread));
  }
  for (std::thread& thread : threads) thread.join();
}

// Waits until no worker reads, the timeout at most. A process that is just being started is missed
// by one attempt to end it, so there are several.
void SourceLoader::State::end_reads(std::unique_lock<std::mutex>& lock) {
  constexpr std::chrono::milliseconds kAttempt{20};
  const auto reads = [](const auto& worker) { return worker->reading; };
  const auto done = [&] { return std::none_of(workers.begin(), workers.end(), reads); };
  const auto last = Clock::now() + policy.timeout;
  while (!done() && Clock::now() < last) {
    for (const auto& worker : workers) {
      if (worker->reading) worker->reader->cancel();
    }
    changed.wait_for(lock, kAttempt, done);
  }
}

void SourceLoader::request(std::uint64_t ticket, std::uint64_t index) {
  const std::lock_guard lock(state_->mutex);
  state_->queue.push_back({ticket, index, 0});
  if (state_->workers.empty()) start_workers();
  state_->changed.notify_one();
}

void SourceLoader::set_workers(int count) {
  const std::lock_guard lock(state_->mutex);
  state_->wanted = std::clamp(count, 1, state_->policy.most);
  if (state_->workers.empty()) return;  // none has been needed so far
  if (static_cast<int>(state_->workers.size()) > state_->wanted) state_->changed.notify_all();
  start_workers();
}

// The mutex is held.
void SourceLoader::start_workers() {
  for (std::thread& thread : state_->ended) thread.join();  // all they had to do is done
  state_->ended.clear();
  while (static_cast<int>(state_->workers.size()) < state_->wanted) {
    auto worker = std::make_shared<Worker>();
    worker->reader = state_->make_reader();
    worker->thread = std::thread([state = state_, worker] { work(state, worker); });
    state_->workers.push_back(std::move(worker));
  }
}

// Waits for a job; false where the worker shall end.
bool SourceLoader::State::take_job(std::unique_lock<std::mutex>& lock, Worker& worker) {
  const auto too_many = [&] { return static_cast<int>(workers.size()) > wanted; };
  changed.wait(lock, [&] { return stop || too_many() || !queue.empty(); });
  if (stop) return false;
  if (too_many()) {
    retire(worker);
    return false;
  }
  worker.job = queue.pop_front();
  worker.since = Clock::now();
  worker.reading = true;
  worker.cancelled = false;
  return true;
}

void SourceLoader::State::retire(Worker& worker) {
  const auto at = std::find_if(workers.begin(), workers.end(),
                               [&](const auto& other) { return other.get() == &worker; });
  ended.push_back(std::move(worker.thread));
  workers.erase(at);
}

void SourceLoader::State::measure(double read_seconds) {
  constexpr double kNew = 0.1, kFading = 0.98;
  SourceLoad& load = status.load;
  load.mean_seconds =
      status.rows == 0 ? read_seconds : (1 - kNew) * load.mean_seconds + kNew * read_seconds;
  load.longest_seconds = std::max(kFading * load.longest_seconds, read_seconds);
  status.last_seconds = read_seconds;
  ++status.rows;
}

// Puts the job back, after a pause, or gives it up.
void SourceLoader::State::handle_failure(std::unique_lock<std::mutex>& lock, Job job,
                                         std::exception_ptr cause) {
  if (stop) return;
  ++job.failures;
  ++status.failures;
  status.last_failure = text_of(cause);
  const std::string what = fmt::format("source {} ({}): sequence {}: {}", name.name, name.file,
                                       job.index, status.last_failure);
  if (job.failures < policy.max_failures) {
    log::warn("{}; it is read again ({} of {} tries failed)", what, job.failures,
              policy.max_failures);
    const auto pause = policy.first_pause * (1 << std::min(job.failures - 1, 16));
    changed.wait_for(lock, pause, [&] { return stop; });
    queue.push_front(job);
    changed.notify_one();
    return;
  }
  const auto error =
      with_text(cause, fmt::format("{}; it failed {} times in a row", what, job.failures));
  lock.unlock();
  sink.give_up(job.ticket, error);
  lock.lock();
}

void SourceLoader::work(const std::shared_ptr<State>& state,
                        const std::shared_ptr<Worker>& worker) {
  std::unique_lock lock(state->mutex);
  while (state->take_job(lock, *worker)) {
    const Job job = worker->job;
    lock.unlock();
    std::exception_ptr failure;
    std::int64_t valid = 0;
    try {
      valid = worker->reader->read(job.index);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    worker->reading = false;
    if (worker->left_behind) return;
    if (state->stop) state->changed.notify_all();
    if (failure != nullptr) {
      if (worker->cancelled) {
        failure = std::make_exception_ptr(Error(fmt::format(
            "no answer for {:.3g} s, its process was ended", seconds(state->policy.timeout))));
      }
      state->handle_failure(lock, job, failure);
      continue;
    }
    state->measure(seconds(Clock::now() - worker->since));
    lock.unlock();
    state->sink.deliver(job.ticket, worker->reader->row(), valid);
    lock.lock();
  }
}

std::chrono::steady_clock::time_point SourceLoader::relieve() {
  std::unique_lock lock(state_->mutex);
  const auto now = Clock::now();
  auto next = now + state_->policy.timeout;
  std::vector<Job> left;
  for (const auto& worker : state_->workers) {
    if (!worker->reading) continue;
    const auto due = worker->since + state_->policy.timeout;
    if (due > now) {
      next = std::min(next, due);
      continue;
    }
    if (!worker->cancelled) ++state_->status.stalls;
    worker->cancelled = worker->reader->cancel();
    if (worker->cancelled) continue;  // its read will fail
    worker->left_behind = true;
    worker->thread.detach();
    left.push_back(worker->job);
  }
  std::erase_if(state_->workers, [](const auto& worker) { return worker->left_behind; });
  if (left.empty()) return next;
  start_workers();
  const auto cause = std::make_exception_ptr(Error(fmt::format(
      "no answer for {:.3g} s, another worker takes over", seconds(state_->policy.timeout))));
  for (const Job& job : left) state_->handle_failure(lock, job, cause);
  return next;
}

SourceStatus SourceLoader::status() const {
  const std::lock_guard lock(state_->mutex);
  SourceStatus status = state_->status;
  status.waiting = state_->queue.size();
  status.workers = static_cast<int>(state_->workers.size());
  const auto now = Clock::now();
  for (const auto& worker : state_->workers) {
    if (!worker->reading) continue;
    status.longest_running = std::max(status.longest_running, seconds(now - worker->since));
  }
  return status;
}

std::size_t SourceLoader::process_memory() const {
  const std::lock_guard lock(state_->mutex);
  std::size_t bytes = 0;
  for (const auto& worker : state_->workers) bytes += worker->reader->process_memory();
  return bytes;
}

}  // namespace bessemer::data
