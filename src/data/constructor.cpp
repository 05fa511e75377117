#include "data/constructor.h"

#include <fmt/format.h>

namespace bessemer::data {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

Constructor::Constructor(Node& node, std::int64_t local) : node_(node), local_(local) {
  const BatchShape& shape = node.planner().shape();
  const auto tokens = static_cast<std::size_t>(shape.micro_batch_size * node.sequence_length());
  batch_.micro_batches.resize(static_cast<std::size_t>(shape.micro_batches));
  for (Batch& batch : batch_.micro_batches) {
    for (auto* field : {&batch.tokens, &batch.targets, &batch.positions}) field->resize(tokens);
    batch.visibility.resize(2 * tokens);
  }
}

std::uint64_t Constructor::position() const {
  return node_.first_sequence() + step_ * node_.planner().sequences_per_step();
}

Constructor::Next Constructor::next() {
  if (failure_ != nullptr) std::rethrow_exception(failure_);
  const auto begin = Clock::now();
  Wait wait;
  try {
    assemble(wait);
  } catch (...) {
    failure_ =
        std::current_exception();  // the rows before the bad one are taken: there is no way on
    throw;
  }
  if (step_ > 0) node_.step_done(seconds(begin - returned_), wait.seconds);
  ++step_;
  returned_ = Clock::now();
  return {batch_, seconds(returned_ - begin), wait};
}

void Constructor::assemble(Wait& wait) {
  batch_.first_sequence = position();
  batch_.valid_tokens = 0;
  for (std::size_t m = 0; m < batch_.micro_batches.size(); ++m) {
    Batch& batch = batch_.micro_batches[m];
    fill(batch, static_cast<std::int64_t>(m), wait);
    batch_.valid_tokens += batch.valid_tokens;
  }
}

void Constructor::fill(Batch& batch, std::int64_t m, Wait& wait) {
  const auto length = static_cast<std::size_t>(node_.sequence_length());
  batch.valid_tokens = 0;
  for (std::int64_t b = 0; b < node_.planner().shape().micro_batch_size; ++b) {
    const auto row = [&](std::vector<std::int32_t>& field, std::size_t width) {
      return std::span(field).subspan(static_cast<std::size_t>(b) * width, width);
    };
    const SequenceView view{row(batch.tokens, length), row(batch.targets, length),
                            row(batch.positions, length), row(batch.visibility, 2 * length)};
    batch.valid_tokens += node_.take(step_, local_, m, b, view, wait);
  }
}

std::string wait_text(const Node& node, const Wait& wait) {
  if (wait.source < 0) return "the step was not planned in time";
  const auto source = static_cast<std::uint32_t>(wait.source);
  const SourceStatus status = node.status(source);
  std::string text = fmt::format(
      "source {} was late: {:.3g} s for one sequence; it has {} worker{}, {} more sequences to "
      "read, and takes {:.3g} s for one (the last: {:.3g})",
      node.name(source).name, wait.longest, status.workers, status.workers == 1 ? "" : "s",
      status.waiting, status.load.mean_seconds, status.last_seconds);
  if (status.longest_running > status.load.mean_seconds) {
    text += fmt::format("; one has been under way for {:.3g} s", status.longest_running);
  }
  if (status.failures > 0) {
    text += fmt::format("; {} reads of it have failed so far, the last: {}", status.failures,
                        status.last_failure);
  }
  return text;
}

}  // namespace bessemer::data
