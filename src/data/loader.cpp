#include "data/loader.h"

#include <chrono>
#include <numeric>
#include <span>

#include "base/error.h"

namespace bessemer::data {

Loader::Loader(std::shared_ptr<const SequenceSource> source, LoaderOptions options)
    : source_(std::move(source)),
      options_(options),
      shape_{options.ranks, options.micro_batches, options.micro_batch_size},
      position_(options.first_sequence) {
  require(options_.micro_batch_size > 0 && options_.micro_batches > 0 && options_.ranks > 0 &&
              options_.rank >= 0 && options_.rank < options_.ranks,
          "loader: {} micro-batches of {} on rank {} of {}", options_.micro_batches,
          options_.micro_batch_size, options_.rank, options_.ranks);
  order_.resize(sequences_per_step());
  std::iota(order_.begin(), order_.end(), 0u);
  const auto tokens =
      static_cast<std::size_t>(options_.micro_batch_size * source_->sequence_length());
  for (GlobalBatch& buffer : buffers_) {
    buffer.micro_batches.resize(static_cast<std::size_t>(options_.micro_batches));
    for (Batch& batch : buffer.micro_batches) {
      for (auto* field : {&batch.tokens, &batch.targets, &batch.positions}) field->resize(tokens);
      batch.visibility.resize(2 * tokens);
    }
  }
  thread_ = std::thread([this] { work(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::uint64_t Loader::sequences_per_step() const {
  return static_cast<std::uint64_t>(shape_.sequences());
}

Loader::Next Loader::next() {
  const auto begin = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ready_ || failure_ != nullptr; });
  if (failure_ != nullptr) std::rethrow_exception(failure_);
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
  front_ = 1 - front_;
  position_ += sequences_per_step();
  ready_ = false;
  lock.unlock();
  changed_.notify_all();
  return {buffers_[front_], waited.count()};
}

void Loader::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || !ready_; });
    if (stop_) return;
    GlobalBatch& back = buffers_[1 - front_];
    const std::uint64_t first = position_;
    lock.unlock();
    std::exception_ptr failure;
    try {
      fill(back, first);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    ready_ = failure == nullptr;
    failure_ = failure;
    changed_.notify_all();
    if (failure_ != nullptr) return;
  }
}

// From what the sequences are made of: no token is read.
void Loader::balance_step(std::uint64_t first) {
  std::vector<double> costs(order_.size());
  std::vector<std::int64_t> parts;
  for (std::size_t i = 0; i < costs.size(); ++i) {
    parts.clear();
    source_->visit(first + i, [&](const Origin& origin) { parts.push_back(origin.count); });
    costs[i] = options_.cost(parts);
  }
  order_ = balance(costs, shape_, options_.balance);
}

void Loader::fill(GlobalBatch& global, std::uint64_t first) {
  if (options_.balance != Balance::round_robin && options_.ranks > 1) balance_step(first);
  const auto length = static_cast<std::size_t>(source_->sequence_length());
  global.first_sequence = first;
  global.valid_tokens = 0;
  for (std::size_t m = 0; m < global.micro_batches.size(); ++m) {
    Batch& batch = global.micro_batches[m];
    batch.valid_tokens = 0;
    for (std::uint64_t b = 0; b < static_cast<std::uint64_t>(options_.micro_batch_size); ++b) {
      const auto row = [&](std::vector<std::int32_t>& field, std::size_t width) {
        return std::span(field).subspan(b * width, width);
      };
      const SequenceView view{row(batch.tokens, length), row(batch.targets, length),
                              row(batch.positions, length), row(batch.visibility, 2 * length)};
      const std::int64_t place =
          shape_.place(options_.rank, static_cast<std::int64_t>(m), static_cast<std::int64_t>(b));
      batch.valid_tokens += source_->read(first + order_[static_cast<std::size_t>(place)], view);
    }
    global.valid_tokens += batch.valid_tokens;
  }
}

}  // namespace bessemer::data
