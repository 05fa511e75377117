#include "kernels/attention_problem.h"

namespace bessemer::kernels {
namespace {

constexpr std::int64_t kLargestHeadSize = 256;
constexpr std::int64_t kLongest = std::int64_t{1} << 28;  // four of them fit 32 bits

std::optional<std::string> refusal(const KernelRequest& request, const TensorType& q,
                                   const TensorType& k, std::size_t optionals) {
  if (q.dtype != DType::fp32 && q.dtype != DType::bf16) {
    return fmt::format("dtype {}: takes fp32 and bf16", name_of(q.dtype));
  }
  if (q.dim(3) > kLargestHeadSize || q.dim(3) < 1) {
    return fmt::format("head size {}: takes 1 to {}", q.dim(3), kLargestHeadSize);
  }
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

namespace {

/// The interval of each query before the end of the tile is seen to: causal mask and window. Plain
/// loops over 32-bit integers, which compilers turn into vectors.
void start_intervals(const AttentionProblem& problem, std::int64_t first, TileVisibility& tile) {
  constexpr std::int64_t kFar = 2 * kLongest;
  const auto keys = static_cast<std::int32_t>(problem.keys);
  const auto diagonal = static_cast<std::int32_t>(first + problem.keys - problem.queries);
  const auto ahead = static_cast<std::int32_t>(problem.causal ? 1 : kFar);
  const auto behind =
      static_cast<std::int32_t>(problem.window > 0 ? std::min(problem.window, kFar) - 1 : kFar);
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(kQueryTile); ++i) {
    tile.low[i] = std::max(0, diagonal + i - behind);
    tile.high[i] = std::min(keys, diagonal + i + ahead);
  }
}

/// Unions and intersection from the intervals.
void summarize(std::int32_t keys, TileVisibility& tile) {
  tile.any_low = keys, tile.any_high = 0;
  tile.all_low = 0, tile.all_high = keys;
  for (std::int64_t strip = 0; strip < kStrips; ++strip) {
    std::int32_t any_low = keys, any_high = 0, all_low = 0, all_high = keys;
    for (std::int64_t i = strip * kStrip; i < (strip + 1) * kStrip; ++i) {
      any_low = std::min(any_low, tile.low[i]);
      any_high = std::max(any_high, tile.high[i]);
      all_low = std::max(all_low, tile.low[i]);
      all_high = std::min(all_high, tile.high[i]);
    }
    tile.strip_low[strip] = any_low;
    tile.strip_high[strip] = any_high;
    tile.any_low = std::min(tile.any_low, any_low);
    tile.any_high = std::max(tile.any_high, any_high);
    if (strip >= tile.strips) continue;
    tile.all_low = std::max(tile.all_low, all_low);
    tile.all_high = std::min(tile.all_high, all_high);
  }
}

}  // namespace

TileVisibility see_keys(const AttentionProblem& problem, const std::int32_t* visibility,
                        std::int64_t b, std::int64_t first, std::int64_t count) {
  const auto keys = static_cast<std::int32_t>(problem.keys);
  TileVisibility tile;
  tile.strips = divide_up(count, kStrip);
  start_intervals(problem, first, tile);
  if (visibility != nullptr) {
    const std::int32_t* interval = visibility + (b * problem.queries + first) * 2;
    for (std::int64_t i = 0; i < count; ++i) {
      tile.low[i] = std::max(tile.low[i], interval[2 * i]);
      tile.high[i] = std::min(tile.high[i], interval[2 * i + 1]);
    }
  }
  for (std::int64_t i = 0; i < kQueryTile; ++i) {
    const bool empty = i >= count || tile.low[i] >= tile.high[i];
    tile.low[i] = empty ? keys : tile.low[i];
    tile.high[i] = empty ? 0 : tile.high[i];
  }
  summarize(keys, tile);
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

}  // namespace bessemer::kernels
