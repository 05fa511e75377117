#include "train/memory_planner.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "base/error.h"
#include "config/names.h"
#include "config/value.h"
#include "train/memory_report.h"
#include "train/offload.h"

namespace bessemer::train {
namespace {

using config::OffloadItem;
using config::OffloadTier;
using config::TensorClass;

constexpr std::size_t kFrontierPoints = 12;
constexpr std::size_t kFewPoints = 8;
constexpr std::size_t kRemedies = 6;

// Tokens of a micro-batch that more would not make faster: what an instruction costs beside its
// arithmetic is far below a hundredth by then.
constexpr std::int64_t kEnoughTokens = 8192;
constexpr std::size_t kMicroBatchSizes = 6;

// Divisors of the global batch, from the largest with few enough tokens down, each half of the last
// or less.
std::vector<std::int64_t> micro_batch_sizes(const config::RunConfig& config) {
  if (config.train.micro_batch_size) return {*config.train.micro_batch_size};
  const std::int64_t all = *config.train.global_batch_size;
  const std::int64_t most = std::max<std::int64_t>(1, kEnoughTokens / config.data.sequence_length);
  std::vector<std::int64_t> sizes;
  for (std::int64_t size = std::min(all, most); size >= 1; --size) {
    const bool far = sizes.empty() || 2 * size <= sizes.back();
    if (all % size == 0 && far && sizes.size() + 1 < kMicroBatchSizes) sizes.push_back(size);
  }
  if (sizes.back() != 1) sizes.push_back(1);
  return sizes;
}

/// What may be moved, from what is asked for least often in a step to what is asked for most.
std::vector<std::vector<OffloadItem>> offload_sets(const config::MemoryConfig& memory) {
  if (memory.offload) return {*memory.offload};
  std::vector<OffloadTier> tiers{OffloadTier::host};
  if (memory.file) tiers.push_back(OffloadTier::file);
  std::vector<std::vector<OffloadItem>> sets{{}};
  for (const OffloadTier tier : tiers) {
    std::vector<OffloadItem> items;
    for (const TensorClass what : {TensorClass::optimizer, TensorClass::gradients,
                                   TensorClass::parameters, TensorClass::activations}) {
      items.push_back({what, tier});
      sets.push_back(items);
    }
  }
  return sets;
}

WayChoices choices_of(const config::RunConfig& config, std::size_t piece) {
  return {micro_batch_sizes(config), offload_sets(config.memory), piece, *config.memory.recompute};
}

// Whole tensors first.
std::vector<std::size_t> pieces_of(const WayChoices& choices) {
  if (choices.piece == kWhole) return {kWhole};
  return {kWhole, choices.piece};
}

// One for each combination, at level 0. Pieces are for what moves.
std::vector<Way> ways_of(const WayChoices& choices, std::size_t piece) {
  std::vector<Way> ways;
  for (const std::int64_t size : choices.micro_batch_sizes) {
    for (const auto& offload : choices.offloads) {
      if (piece == kWhole || !offload.empty()) {
        ways.push_back({size, offload, piece, choices.recompute, 0});
      }
    }
  }
  return ways;
}

}  // namespace

MemoryPlanner::MemoryPlanner(const config::RunConfig& config,
                             const models::Architecture& architecture,
                             const cost::MachineDescription& machine, BatchFrom from)
    : config_(config),
      budgets_(budgets_of(config.memory, machine)),
      piece_(can_tile(machine) ? piece_bytes(budgets_) : kWhole),
      batch_from_(from),
      compiler_(config, architecture, machine, quiet_) {
  check_tiers(config.memory, machine);
}

MemoryPlanner::Found MemoryPlanner::search(const WayChoices& choices,
                                           const config::MemoryConfig& budgets) {
  for (const std::size_t piece : pieces_of(choices)) {
    if (const auto found = fastest(ways_of(choices, piece), budgets)) return *found;
  }
  return smallest(choices);
}

std::optional<MemoryPlanner::Found> MemoryPlanner::fastest(std::vector<Way> ways,
                                                           const config::MemoryConfig& budgets) {
  const auto least = [&](const Way& way) {  // keeping everything on the device
    return compiler_.price({way.micro_batch_size, {}, kWhole, way.recompute, 0}).step_seconds;
  };
  std::stable_sort(ways.begin(), ways.end(),
                   [&](const Way& a, const Way& b) { return least(a) < least(b); });
  std::optional<Found> fastest;
  const auto may_win = [&](double bound) {
    return !fastest || bound < fastest->price.step_seconds;
  };
  const auto consider = [&](const Way& way) {
    const Price price = compiler_.price(way);
    if (may_win(price.step_seconds) && fits(budgets, price.bytes)) fastest = {way, price};
  };
  std::vector<Way> too_large;
  for (const Way& way : ways) {
    if (!may_win(least(way)) || !fits(budgets, compiler_.standing_bytes(way))) continue;
    consider(way);
    if (!fits(budgets, compiler_.price(way).bytes)) too_large.push_back(way);
  }
  for (const Way& way : too_large) {
    if (may_win(compiler_.price(way).step_seconds)) consider(compiler_.fit(way, budgets));
  }
  return fastest;
}

MemoryPlanner::Found MemoryPlanner::smallest(const WayChoices& choices) {
  std::optional<Found> smallest;
  for (const std::size_t piece : pieces_of(choices)) {
    for (Way way : ways_of(choices, piece)) {
      way.level = compiler_.levels(way).back();
      const Price price = compiler_.price(way);
      const bool less = !smallest || price.device_bytes() < smallest->price.device_bytes();
      if (less) smallest = {way, price};
    }
  }
  return *smallest;
}

const MemoryPlanner::Found& MemoryPlanner::chosen() {
  if (!chosen_) chosen_ = search(choices_of(config_, piece_), budgets_);
  return *chosen_;
}

config::RunConfig MemoryPlanner::choose() {
  config::RunConfig config = config_;
  config.train.micro_batch_size = chosen().way.micro_batch_size;
  config.memory.offload = chosen().way.offload;
  return config;
}

CompiledRun MemoryPlanner::compile() { return compiler_.compile(chosen().way); }

void MemoryPlanner::check() {
  const Found& found = chosen();
  if (fits(budgets_, found.price.bytes)) return;
  std::vector<Remedy> smaller = remedies();
  std::erase_if(smaller, [&](const Remedy& remedy) {
    return remedy.device_bytes >= found.price.device_bytes();
  });
  std::string text = refusal_text(config_.memory, budgets_, found.price, smaller);
  if (batch_from_ == BatchFrom::checkpoint) {
    text += fmt::format(
        "\nA run that goes on keeps its micro-batches (train.micro_batch_size = {}): others would "
        "sum in another order",
        found.way.micro_batch_size);
  }
  fail_input("{}", text);
}

FrontierPoint MemoryPlanner::point(const Found& found) {
  const Way kept{found.way.micro_batch_size, {}, kWhole, found.way.recompute, 0};
  const auto [device, host, file] = found.price.bytes;
  return {device,
          host,
          file,
          found.price.step_seconds,
          found.way.micro_batch_size,
          how_text(found.way, compiler_.operations(found.way), compiler_.operations(kept))};
}

// Of bytes that fall: without those that a smaller one outruns. (Pieces and what waits for its
// transport are planned only where nothing else fits, and may turn out to be faster.)
std::vector<MemoryPlanner::Found> MemoryPlanner::non_dominated(std::vector<Found> found) {
  std::vector<Found> kept;
  for (auto each = found.rbegin(); each != found.rend(); ++each) {
    const bool faster = kept.empty() || each->price.step_seconds < kept.back().price.step_seconds;
    if (faster) kept.push_back(std::move(*each));
  }
  std::reverse(kept.begin(), kept.end());
  return kept;
}

std::vector<FrontierPoint> MemoryPlanner::frontier() {
  config::RunConfig config = config_;
  config.memory.recompute = config::Recompute::automatic;
  const WayChoices choices = choices_of(config, piece_);
  config::MemoryConfig budgets = config.memory;
  constexpr config::Bytes kAny{std::numeric_limits<std::uint64_t>::max()};
  if (!budgets.host) budgets.host = kAny;
  const auto best_under = [&](std::uint64_t device) {
    budgets.device = config::Bytes{device};
    return search(choices, budgets);
  };
  const Found most = best_under(kAny.count);
  const std::size_t least = smallest(choices).price.device_bytes();
  std::vector<Found> found;
  // Where peaks jump, equal steps miss what lies between the jumps; then they are made smaller.
  for (std::size_t steps = kFrontierPoints; steps <= 64 * kFrontierPoints; steps *= 4) {
    found = {most};
    const std::size_t step = (most.price.device_bytes() - least) / steps;
    while (found.size() < 2 * kFrontierPoints && found.back().price.device_bytes() > least) {
      const std::size_t last = found.back().price.device_bytes();
      const std::size_t less = std::max<std::size_t>(1, step);
      const std::size_t next = last - least > less ? last - less : least;
      const Found under = best_under(next);
      if (under.price.device_bytes() > next) break;  // no room in a lower tier
      found.push_back(under);
    }
    found = non_dominated(std::move(found));
    if (found.size() >= kFewPoints) break;
  }
  std::vector<FrontierPoint> points;
  for (const Found& each : found) points.push_back(point(each));
  return points;
}

Remedy MemoryPlanner::remedy(std::string change, const config::RunConfig& changed) {
  const Found found = search(choices_of(changed, piece_), budgets_);
  return {std::move(change), found.price.device_bytes(), found.price.step_seconds,
          fits(budgets_, found.price.bytes)};
}

std::vector<Remedy> MemoryPlanner::remedies() {
  std::vector<Remedy> all;
  config::RunConfig config = config_;
  if (config.memory.recompute != config::Recompute::automatic) {
    config.memory.recompute = config::Recompute::automatic;
    all.push_back(remedy("memory.recompute = \"auto\"", config));
  }
  if (config_.memory.offload) {
    config::MemoryConfig free = config_.memory;
    free.offload.reset();
    for (const auto& set : offload_sets(free)) {
      if (set.empty()) continue;
      config = config_;
      config.memory.offload = set;
      all.push_back(remedy(fmt::format("memory.offload = {}", config::print(set)), config));
    }
  }
  config = config_;
  const bool may_shrink = config_.train.micro_batch_size && batch_from_ == BatchFrom::run_file;
  const std::int64_t given = may_shrink ? *config_.train.micro_batch_size : 1;
  for (std::int64_t size = given - 1; size >= 1; --size) {
    if (given % size != 0) continue;
    config.train.micro_batch_size = size;
    all.push_back(remedy(fmt::format("train.micro_batch_size = {}", size), config));
    if (all.back().fits) break;
  }
  std::stable_sort(all.begin(), all.end(), [](const Remedy& a, const Remedy& b) {
    if (a.fits != b.fits) return a.fits;
    return a.fits ? a.step_seconds < b.step_seconds : a.device_bytes < b.device_bytes;
  });
  if (all.size() > kRemedies) all.resize(kRemedies);
  return all;
}

}  // namespace bessemer::train
