#include "train/evaluate.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>

#include "base/rounding.h"

namespace bessemer::train {
namespace {

// Bytes of text that the predicted tokens stand for. The end-of-text token stands for none.
std::int64_t bytes_of_targets(const data::Batch& batch, const data::Tokenizer& tokenizer,
                              std::int32_t end_of_text) {
  std::int64_t bytes = 0;
  for (const std::int32_t target : batch.targets) {
    if (target < 0 || target == end_of_text) continue;
    bytes += static_cast<std::int64_t>(tokenizer.token_bytes(target).size());
  }
  return bytes;
}

}  // namespace

Evaluation evaluate(const StepRunner& runner, const data::Dataset& dataset,
                    const data::Tokenizer& tokenizer, std::int64_t sequences,
                    std::int64_t batches) {
  const auto length = static_cast<std::size_t>(dataset.sequence_length());
  const auto count = static_cast<std::size_t>(sequences) * length;
  data::Batch batch;
  batch.tokens.resize(count);
  batch.targets.resize(count);
  batch.positions.resize(count);
  batch.visibility.resize(2 * count);
  const auto total = static_cast<std::int64_t>(dataset.sequences());
  std::int64_t wanted = divide_up(total, sequences);
  if (batches > 0) wanted = std::min(wanted, batches);

  const std::int32_t end_of_text = tokenizer.end_of_text();
  double loss = 0;
  std::int64_t bytes = 0;
  Evaluation result;
  for (std::int64_t b = 0; b < wanted; ++b) {
    for (std::int64_t s = 0; s < sequences; ++s) {
      const std::size_t at = static_cast<std::size_t>(s) * length;
      const auto part = [&](std::vector<std::int32_t>& values, std::size_t width) {
        return std::span(values).subspan(at * width, length * width);
      };
      const std::int64_t index = b * sequences + s;
      const std::int64_t valid =
          dataset.read(static_cast<std::uint64_t>(std::min(index, total - 1)),
                       {part(batch.tokens, 1), part(batch.targets, 1), part(batch.positions, 1),
                        part(batch.visibility, 2)});
      if (index < total) {
        result.tokens += valid;
      } else {  // fills up the last batch; counts for nothing
        std::ranges::fill(part(batch.targets, 1), -1);
      }
    }
    bytes += bytes_of_targets(batch, tokenizer, end_of_text);
    loss += runner.evaluate(batch);
  }
  result.loss = loss / static_cast<double>(std::max<std::int64_t>(1, result.tokens));
  result.perplexity = std::exp(result.loss);
  result.bits_per_byte =
      loss / std::numbers::ln2 / static_cast<double>(std::max<std::int64_t>(1, bytes));
  return result;
}

}  // namespace bessemer::train
