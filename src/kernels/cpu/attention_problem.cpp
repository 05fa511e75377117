#include "kernels/cpu/attention_problem.h"

#include <limits>

namespace bessemer::kernels::cpu {
namespace {

constexpr std::int64_t kLargestHeadSize = 256;

std::optional<std::string> refusal(const KernelRequest& request, const TensorType& q,
                                   const TensorType& k, std::size_t optionals) {
  if (q.dtype != DType::fp32 && q.dtype != DType::bf16) {
    return fmt::format("dtype {}: takes fp32 and bf16", name_of(q.dtype));
  }
  if (q.dim(3) > kLargestHeadSize || q.dim(3) < 1) {
    return fmt::format("head size {}: takes 1 to {}", q.dim(3), kLargestHeadSize);
  }
  constexpr std::int64_t kLongest = std::numeric_limits<std::int32_t>::max() / 2;
  if (q.dim(1) > kLongest || k.dim(1) > kLongest) {
    return fmt::format("{} queries and {} keys: takes up to {}", q.dim(1), k.dim(1), kLongest);
  }
  const double dropout = request.attributes.real("dropout", 0.0);
  if (dropout < 0 || dropout >= 1) return fmt::format("dropout {}: takes [0, 1)", dropout);
  if (dropout > 0 && !request.has_operand(optionals + 1)) {
    return "dropout without a counter";
  }
  return {};
}

}  // namespace

std::variant<AttentionProblem, Declined> read_attention(const KernelRequest& request,
                                                        std::size_t q_operand,
                                                        std::size_t k_operand,
                                                        std::size_t optionals) {
  const TensorType& q = request.operand(q_operand);
  const TensorType& k = request.operand(k_operand);
  if (auto reason = refusal(request, q, k, optionals)) return Declined{*reason};
  const Attributes& attributes = request.attributes;
  AttentionProblem problem{};
  problem.batch = q.dim(0);
  problem.queries = q.dim(1);
  problem.heads = q.dim(2);
  problem.head_size = q.dim(3);
  problem.keys = k.dim(1);
  problem.key_heads = k.dim(2);
  problem.dtype = q.dtype;
  problem.scale = static_cast<float>(attributes.real("scale"));
  problem.causal = attributes.boolean("causal", false);
  problem.window = attributes.integer("window", 0);
  problem.dropout = attributes.real("dropout", 0.0);
  problem.site = static_cast<std::uint32_t>(attributes.integer("site", 0));
  problem.workers = std::max(1, request.machine.threads);
  return problem;
}

std::optional<AttentionDropout> read_dropout(const AttentionProblem& problem,
                                             const std::int64_t* counter) {
  if (problem.dropout <= 0) return {};
  const auto seed = static_cast<std::uint64_t>(counter[0]);
  return AttentionDropout{
      {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
      fold(counter[1], counter[2]),
      problem.site,
      threshold(problem.dropout),
      static_cast<float>(keep_scale(problem.dropout))};
}

TileVisibility see_keys(const AttentionProblem& problem, const std::int32_t* visibility,
                        std::int64_t b, std::int64_t first, std::int64_t count) {
  const std::int64_t keys = problem.keys;
  const auto none = static_cast<std::int32_t>(keys);
  TileVisibility tile;
  tile.strips = (count + kStrip - 1) / kStrip;
  tile.any_low = none, tile.any_high = 0;
  tile.all_low = 0, tile.all_high = none;
  std::fill_n(tile.strip_low, kStrips, none);
  std::fill_n(tile.strip_high, kStrips, 0);
  for (std::int64_t i = 0; i < tile.strips * kStrip; ++i) {
    std::int64_t low = 0, high = i < count ? keys : 0;
    const std::int64_t diagonal = first + i + keys - problem.queries;
    if (problem.causal) high = std::min(high, diagonal + 1);
    if (problem.window > 0) low = std::max(low, diagonal - problem.window + 1);
    if (visibility != nullptr && i < count) {
      const std::int32_t* interval = visibility + (b * problem.queries + first + i) * 2;
      low = std::max<std::int64_t>(low, interval[0]);
      high = std::min<std::int64_t>(high, interval[1]);
    }
    const bool empty = low >= high;
    tile.low[i] = empty ? none : static_cast<std::int32_t>(low);
    tile.high[i] = empty ? 0 : static_cast<std::int32_t>(high);
    const std::int64_t strip = i / kStrip;
    tile.strip_low[strip] = std::min(tile.strip_low[strip], tile.low[i]);
    tile.strip_high[strip] = std::max(tile.strip_high[strip], tile.high[i]);
    tile.all_low = std::max(tile.all_low, tile.low[i]);
    tile.all_high = std::min(tile.all_high, tile.high[i]);
  }
  for (std::int64_t strip = 0; strip < tile.strips; ++strip) {
    tile.any_low = std::min(tile.any_low, tile.strip_low[strip]);
    tile.any_high = std::max(tile.any_high, tile.strip_high[strip]);
  }
  return tile;
}

TileVisibility::Range TileVisibility::strips_seeing(std::int64_t first, std::int64_t last) const {
  Range range{0, 0};
  for (std::int64_t strip = 0; strip < strips; ++strip) {
    if (strip_low[strip] >= last || strip_high[strip] <= first) continue;
    if (range.end == 0) range.begin = strip;
    range.end = strip + 1;
  }
  return range;
}

TileVisibility::Range TileVisibility::keys_seen_by_strip(std::int64_t strip, std::int64_t first_key,
                                                         std::int64_t count) const {
  const std::int64_t begin = std::clamp<std::int64_t>(strip_low[strip] - first_key, 0, count);
  const std::int64_t end = std::clamp<std::int64_t>(strip_high[strip] - first_key, 0, count);
  return {begin, std::max(begin, end)};
}

TileVisibility::Range TileVisibility::keys_seen_by(std::int64_t first, std::int64_t last,
                                                   std::int64_t begin, std::int64_t end) const {
  std::int64_t lowest = end, highest = begin;
  for (std::int64_t i = first; i < last; ++i) {
    lowest = std::min<std::int64_t>(lowest, low[i]);
    highest = std::max<std::int64_t>(highest, high[i]);
  }
  return {std::max(begin, lowest), std::min(end, highest)};
}

}  // namespace bessemer::kernels::cpu
