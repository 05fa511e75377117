#include "data/loader.h"

#include "base/error.h"

namespace bessemer::data {
namespace {

Planner planner_of(std::shared_ptr<const Mixture> mixture, const LoaderOptions& options) {
  require(options.micro_batch_size > 0 && options.micro_batches > 0 && options.ranks > 0 &&
              options.rank >= 0 && options.rank < options.ranks,
          "loader: {} micro-batches of {} on rank {} of {}", options.micro_batches,
          options.micro_batch_size, options.rank, options.ranks);
  const BatchShape shape{options.ranks, options.micro_batches, options.micro_batch_size};
  return {std::move(mixture), {shape, options.balance, options.cost}};
}

NodeOptions node_of(const LoaderOptions& options) {
  NodeOptions node = options.node;
  node.ranks = {options.rank};
  node.first_sequence = options.first_sequence;
  return node;
}

}  // namespace

Loader::Loader(std::shared_ptr<const Mixture> mixture, const LoaderOptions& options)
    : node_(planner_of(std::move(mixture), options), node_of(options)), constructor_(node_, 0) {}

Loader::Loader(std::shared_ptr<const SequenceSource> source, const LoaderOptions& options)
    : Loader(alone(std::move(source)), options) {}

}  // namespace bessemer::data
