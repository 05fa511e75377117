#include "data/node.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include <fmt/format.h>

#include "base/error.h"

namespace bessemer::data {
namespace {

using Clock = std::chrono::steady_clock;

std::size_t rows_of_step(const Planner& planner, std::size_t ranks) {
  const BatchShape& shape = planner.shape();
  return ranks * static_cast<std::size_t>(shape.micro_batches * shape.micro_batch_size);
}

}  // namespace

Node::Node(Planner planner, NodeOptions options)
    : planner_(std::move(planner)),
      options_(std::move(options)),
      length_(planner_.mixture().sequence_length()),
      rows_per_step_(rows_of_step(planner_, options_.ranks.size())),
      bounds_(
          prefetch_bounds(rows_per_step_, ranks(), row_bytes(length_), options_.prefetch_bytes)),
      rows_(bounds_.most * row_bytes(length_)),
      slots_(bounds_.most),
      depth_(bounds_.least) {
  require(!options_.ranks.empty() && options_.ranks.front() >= 0 &&
              options_.ranks.back() < planner_.shape().ranks &&
              std::is_sorted(options_.ranks.begin(), options_.ranks.end()),
          "a node of {} ranks of {}", options_.ranks.size(), planner_.shape().ranks);
  std::memset(rows_.data(), 0, rows_.size());  // resident from now on, as was planned
  const auto& sources = planner_.mixture().sources();
  taken_.resize(sources.size());
  loads_.resize(sources.size());
  RowSink& sink = *this;
  for (std::uint32_t s = 0; s < sources.size(); ++s) {
    SourceName name =
        s < options_.names.size() ? options_.names[s] : SourceName{std::to_string(s), "in memory"};
    SourceLoader::MakeReader make_reader = [source = sources[s]] {
      return std::make_shared<LocalReader>(source);
    };
    if (options_.make_reader) {
      make_reader = [make = options_.make_reader, s] { return make(s); };
    }
    WorkerPolicy policy = options_.workers;
    policy.most = most_workers(s);
    loaders_.push_back(std::make_unique<SourceLoader>(std::move(name), std::move(make_reader),
                                                      policy, slots_.size(), sink));
  }
  asking_ = std::thread([this] { ask_ahead(); });
}

Node::~Node() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  room_.notify_all();
  asking_.join();
  loaders_.clear();
}

int Node::most_workers(std::size_t source) const {
  return source < options_.most_workers.size() ? options_.most_workers[source]
                                               : options_.workers.most;
}

SequenceView Node::view(std::size_t slot) const {
  std::byte* place = rows_.data() + slot * row_bytes(length_);
  return row_at(reinterpret_cast<std::int32_t*>(place), length_);
}

// The asking thread: one step after the other, for ever.
void Node::ask_ahead() {
  std::uint64_t step = 0;
  try {
    while (ask_step(step)) {
      ++step;
      resize();
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    plan_failure_ = std::current_exception();
    plan_failed_from_ = step * rows_per_step_;
    there_.notify_all();
  }
}

// Asks for the rows of a step as room comes; false where it has to stop.
bool Node::ask_step(std::uint64_t step) {
  planner_.plan(options_.first_sequence + step * planner_.sequences_per_step());
  for (SourceLoad& load : loads_) load.rows_per_step = 0;
  const BatchShape& shape = planner_.shape();
  std::uint64_t ticket = step * rows_per_step_;
  for (std::int64_t m = 0; m < shape.micro_batches; ++m) {
    for (const std::int64_t rank : options_.ranks) {
      for (std::int64_t b = 0; b < shape.micro_batch_size; ++b, ++ticket) {
        const PlannedRow row = planner_.row(rank, m, b);
        {
          std::unique_lock lock(mutex_);
          Slot& slot = slots_[slot_of(ticket)];
          room_.wait(
              lock, [&] { return stop_ || (slot.state == Slot::State::empty && asked_ < depth_); });
          if (stop_) return false;
          slot = {Slot::State::asked, ticket, row.source, 0, nullptr};
          ++asked_;
          there_.notify_all();  // who waits for it shall know whom to look after
        }
        loads_[row.source].rows_per_step += 1;
        loaders_[row.source]->request(ticket, row.index);
      }
    }
  }
  return true;
}

// After each step that was asked for, so about once a step.
void Node::resize() {
  double step_seconds = 0;
  bool waited = false;
  {
    const std::lock_guard lock(mutex_);
    step_seconds = step_seconds_;
    waited = std::exchange(waited_, false);
  }
  for (std::size_t s = 0; s < loaders_.size(); ++s) {
    const SourceStatus status = loaders_[s]->status();
    loads_[s].mean_seconds = status.load.mean_seconds;
    loads_[s].longest_seconds = status.load.longest_seconds;
    loaders_[s]->set_workers(workers_for(loads_[s], step_seconds, status.workers, most_workers(s)));
  }
  const std::lock_guard lock(mutex_);
  depth_ = depth_for(loads_, step_seconds, rows_per_step_, waited, depth_, bounds_);
}

void Node::deliver(std::uint64_t ticket, const SequenceView& row, std::int64_t valid) {
  const std::size_t at = slot_of(ticket);
  copy_row(row, view(at));  // nobody else looks at a slot that was asked for
  const std::lock_guard lock(mutex_);
  slots_[at].valid = valid;
  slots_[at].state = Slot::State::there;
  there_.notify_all();
}

void Node::give_up(std::uint64_t ticket, std::exception_ptr cause) {
  const std::lock_guard lock(mutex_);
  Slot& slot = slots_[slot_of(ticket)];
  slot.cause = std::move(cause);
  slot.state = Slot::State::given_up;
  there_.notify_all();
}

std::int64_t Node::take(std::uint64_t step, std::int64_t local, std::int64_t m, std::int64_t b,
                        const SequenceView& out, Wait& wait) {
  const BatchShape& shape = planner_.shape();
  const auto place = static_cast<std::uint64_t>((m * ranks() + local) * shape.micro_batch_size + b);
  const std::uint64_t ticket = step * rows_per_step_ + place;
  const std::size_t at = slot_of(ticket);
  Slot& slot = slots_[at];
  std::unique_lock lock(mutex_);
  wait_for(lock, ticket, wait);
  if (slot.state == Slot::State::given_up) std::rethrow_exception(slot.cause);
  const std::int64_t valid = slot.valid;
  lock.unlock();
  copy_row(view(at), out);
  lock.lock();
  slot.state = Slot::State::empty;
  --asked_;
  ++taken_[slot.source];
  room_.notify_one();
  return valid;
}

void Node::wait_for(std::unique_lock<std::mutex>& lock, std::uint64_t ticket, Wait& wait) {
  const Slot& slot = slots_[slot_of(ticket)];
  const auto asked = [&] { return slot.state != Slot::State::empty && slot.ticket == ticket; };
  const auto ready = [&] { return asked() && slot.state != Slot::State::asked; };
  if (ready()) return;
  const auto begin = Clock::now();
  auto look_again = begin;
  while (!ready()) {
    if (plan_failure_ != nullptr && ticket >= plan_failed_from_) {
      std::rethrow_exception(plan_failure_);
    }
    if (!asked()) {  // the planner is at work, or other ranks have the room
      there_.wait(lock);
    } else if (Clock::now() < look_again) {
      there_.wait_until(lock, look_again);
    } else {
      SourceLoader& late = *loaders_[slot.source];
      lock.unlock();
      look_again = late.relieve();
      lock.lock();
    }
  }
  const std::chrono::duration<double> waited = Clock::now() - begin;
  wait.seconds += waited.count();
  if (waited.count() <= wait.longest) return;
  wait.longest = waited.count();
  wait.source = static_cast<int>(slot.source);
}

void Node::step_done(double seconds, double wait_seconds) {
  constexpr double kNew = 0.2;
  const std::lock_guard lock(mutex_);
  step_seconds_ = step_seconds_ == 0 ? seconds : (1 - kNew) * step_seconds_ + kNew * seconds;
  waited_ = waited_ || is_noticeable(wait_seconds, step_seconds_);
}

std::vector<std::uint64_t> Node::taken() const {
  const std::lock_guard lock(mutex_);
  return taken_;
}

std::size_t Node::process_memory() const {
  std::size_t bytes = 0;
  for (const auto& loader : loaders_) bytes += loader->process_memory();
  return bytes;
}

std::size_t Node::depth() const {
  const std::lock_guard lock(mutex_);
  return depth_;
}

}  // namespace bessemer::data
