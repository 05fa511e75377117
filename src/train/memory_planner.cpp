#include "train/memory_planner.h"

#include <algorithm>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "base/error.h"
#include "config/names.h"
#include "config/value.h"
#include "plan/report.h"

namespace bessemer::train {
namespace {

using config::OffloadItem;
using config::OffloadTier;
using config::TensorClass;

constexpr std::size_t kBudgets = 12;  // of the frontier, for what stays on the device
constexpr std::size_t kBudgetsOffDevice = 5;
constexpr std::size_t kRemedies = 6;

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

// Instructions of the accumulate programs by op.
std::map<std::string, int> ops_of(const plan::Plan& plan) {
  std::map<std::string, int> count;
  for (const char* name : {"accumulate_first", "accumulate", "accumulate_last"}) {
    if (const plan::Program* program = plan.find(name)) {
      for (const plan::Instruction& i : program->instructions) ++count[i.op];
    }
  }
  return count;
}

// What a way moves, and which ops of `kept`, the plan that keeps everything, it runs more often.
std::string how_text(const config::RunConfig& config, const plan::Plan& plan,
                     const plan::Plan& kept) {
  std::string moved, again;
  for (const OffloadItem& item : config.memory.offload.value_or(std::vector<OffloadItem>())) {
    moved += fmt::format("{}{}", moved.empty() ? "" : ", ", config::name_of(item.what));
    if (item.to == OffloadTier::file) moved += " (file)";
  }
  std::map<std::string, int> ops = ops_of(plan);
  for (const auto& [op, count] : ops_of(kept)) {
    if (ops[op] > count) {
      again += fmt::format("{}{} {}", again.empty() ? "" : ", ", ops[op] - count, op);
    }
  }
  if (moved.empty() && again.empty()) return "everything kept";
  return fmt::format("{}{}{}", moved.empty() ? "" : "moved: " + moved,
                     moved.empty() || again.empty() ? "" : "; ",
                     again.empty() ? "" : "again: " + again);
}

std::string percent_text(double seconds, double than) {
  return fmt::format("{:+.1f}%", 100 * (seconds / than - 1));
}

std::string remedies_text(const std::vector<Remedy>& remedies, std::size_t needed, double seconds) {
  if (remedies.empty()) return "; lower data.sequence_length or take a smaller model";
  std::string text = "; what would need less:";
  for (const Remedy& remedy : remedies) {
    text += fmt::format(
        "\n  {}: {} (-{}), {} time{}", remedy.change, plan::bytes_text(remedy.device_bytes),
        plan::bytes_text(needed - remedy.device_bytes), percent_text(remedy.step_seconds, seconds),
        remedy.fits ? "" : ", still too much");
  }
  return text;
}

}  // namespace

MemoryPlanner::MemoryPlanner(const config::RunConfig& config,
                             const models::Architecture& architecture,
                             const cost::MachineDescription& machine)
    : config_(config), architecture_(architecture), machine_(machine) {}

MemoryPlanner::Way MemoryPlanner::compile(config::RunConfig config) {
  passes::Runner quiet;
  Way way{std::move(config), {}, 0};
  way.run = compile_run(way.config, architecture_, machine_, quiet, known_);
  way.step_seconds = plan::predicted_step_seconds(way.run.plan, way.run.micro_batches);
  return way;
}

bool MemoryPlanner::fits(const plan::Plan& plan) const {
  const config::MemoryConfig& memory = config_.memory;
  const std::size_t host = plan.bytes(ir::Tier::host), file = plan.bytes(ir::Tier::file);
  const std::size_t device = plan.bytes(ir::Tier::device);
  const bool host_fits = memory.host ? host <= memory.host->count
                                     : host == 0 || device + host <= memory_of_this_machine();
  return device <= device_budget(memory) && host_fits &&
         (!memory.file || file <= memory.file->bytes.count);
}

MemoryPlanner::Way MemoryPlanner::best(const config::RunConfig& config) {
  config::RunConfig unbounded = config;
  unbounded.memory.device = config::Bytes{std::numeric_limits<std::uint64_t>::max()};
  if (!unbounded.memory.offload) unbounded.memory.offload.emplace();
  Way kept = compile(std::move(unbounded));
  kept.config.memory.device = config.memory.device;
  if (fits(kept.run.plan)) return kept;  // anything else only costs time
  std::optional<Way> fastest, smallest;
  for (const auto& set : offload_sets(config.memory)) {
    config::RunConfig moved = config;
    moved.memory.offload = set;
    Way way = compile(std::move(moved));
    const bool good = fits(way.run.plan);
    if (good && (!fastest || way.step_seconds < fastest->step_seconds)) fastest = way;
    if (!smallest || way.run.plan.arena_bytes < smallest->run.plan.arena_bytes) {
      smallest = std::move(way);
    }
  }
  return fastest ? *fastest : *smallest;
}

config::RunConfig MemoryPlanner::choose() { return best(config_).config; }

void MemoryPlanner::check(const CompiledRun& run) {
  if (fits(run.plan)) return;
  const std::size_t needed = run.plan.arena_bytes;
  const double seconds = plan::predicted_step_seconds(run.plan, run.micro_batches);
  std::vector<Remedy> smaller = remedies();
  std::erase_if(smaller, [&](const Remedy& remedy) { return remedy.device_bytes >= needed; });
  std::string lower;
  for (const ir::Tier tier : {ir::Tier::host, ir::Tier::file}) {
    if (const std::size_t bytes = run.plan.bytes(tier)) {
      lower += fmt::format(" and {} of the {} tier", plan::bytes_text(bytes), name_of(tier));
    }
  }
  std::string have =
      fmt::format("{} gives {}", config_.memory.device ? "memory.device" : "this machine",
                  plan::bytes_text(device_budget(config_.memory)));
  if (config_.memory.host) {
    have += fmt::format(", memory.host gives {}", plan::bytes_text(config_.memory.host->count));
  }
  if (config_.memory.file) {
    have +=
        fmt::format(", memory.file gives {}", plan::bytes_text(config_.memory.file->bytes.count));
  }
  fail_input("the plan does not fit: it needs {} of the device tier{}; {}{}",
             plan::bytes_text(needed), lower, have, remedies_text(smaller, needed, seconds));
}

std::vector<FrontierPoint> MemoryPlanner::frontier() {
  config::RunConfig config = config_;
  config.memory.recompute = config::Recompute::none;
  config.memory.offload.emplace();
  const Way kept = compile(config);
  std::vector<FrontierPoint> points;
  const auto add = [&](const Way& way) {
    const plan::Plan& plan = way.run.plan;
    points.push_back({plan.bytes(ir::Tier::device), plan.bytes(ir::Tier::host),
                      plan.bytes(ir::Tier::file), way.step_seconds,
                      how_text(way.config, plan, kept.run.plan)});
    return points.back().device_bytes;
  };
  for (const auto& set : offload_sets(config_.memory)) {
    config.memory.offload = set;
    config.memory.recompute = config::Recompute::none;
    const std::size_t most = add(compile(config));
    config.memory.recompute = config::Recompute::automatic;
    config.memory.device = config::Bytes{0};
    const std::size_t least = add(compile(config));
    const std::size_t budgets = set.empty() ? kBudgets : kBudgetsOffDevice;
    for (std::size_t i = 1; i + 1 < budgets; ++i) {
      config.memory.device = config::Bytes{most - (most - least) * i / (budgets - 1)};
      add(compile(config));
    }
  }
  std::stable_sort(points.begin(), points.end(), [](const auto& a, const auto& b) {
    return std::pair(a.step_seconds, a.device_bytes) < std::pair(b.step_seconds, b.device_bytes);
  });
  std::vector<FrontierPoint> frontier;
  for (FrontierPoint& point : points) {
    if (frontier.empty() || point.device_bytes < frontier.back().device_bytes) {
      frontier.push_back(std::move(point));
    }
  }
  return frontier;
}

std::vector<Remedy> MemoryPlanner::remedies() {
  std::vector<Remedy> all;
  const auto add = [&](std::string change, const config::RunConfig& config) {
    const Way way = best(config);
    all.push_back(
        {std::move(change), way.run.plan.arena_bytes, way.step_seconds, fits(way.run.plan)});
  };
  config::RunConfig config = config_;
  if (config.memory.recompute != config::Recompute::automatic) {
    config.memory.recompute = config::Recompute::automatic;
    add("memory.recompute = \"auto\"", config);
  }
  if (config_.memory.offload) {
    config::MemoryConfig free = config_.memory;
    free.offload.reset();
    for (const auto& set : offload_sets(free)) {
      if (set.empty()) continue;
      config = config_;
      config.memory.offload = set;
      add(fmt::format("memory.offload = {}", config::print(set)), config);
    }
  }
  config = config_;
  for (std::int64_t size = config_.train.micro_batch_size - 1; size >= 1; --size) {
    if (config_.train.micro_batch_size % size != 0) continue;
    config.train.micro_batch_size = size;
    add(fmt::format("train.micro_batch_size = {}", size), config);
    if (all.back().fits) break;
  }
  std::stable_sort(all.begin(), all.end(), [](const Remedy& a, const Remedy& b) {
    if (a.fits != b.fits) return a.fits;
    return a.fits ? a.step_seconds < b.step_seconds : a.device_bytes < b.device_bytes;
  });
  if (all.size() > kRemedies) all.resize(kRemedies);
  return all;
}

std::string frontier_text(const std::vector<FrontierPoint>& points) {
  std::string text = "frontier: device budget against predicted step\n";
  for (const FrontierPoint& point : points) {
    text += fmt::format("  {:>9}  {:>9.3f} s  {:>7}  {}\n", plan::bytes_text(point.device_bytes),
                        point.step_seconds,
                        percent_text(point.step_seconds, points.front().step_seconds), point.how);
  }
  return text;
}

nlohmann::json frontier_json(const std::vector<FrontierPoint>& points) {
  nlohmann::json json = nlohmann::json::array();
  for (const FrontierPoint& point : points) {
    json.push_back(
        {{"peak_bytes",
          {{"device", point.device_bytes}, {"host", point.host_bytes}, {"file", point.file_bytes}}},
         {"step_seconds", point.step_seconds},
         {"how", point.how}});
  }
  return json;
}

}  // namespace bessemer::train
