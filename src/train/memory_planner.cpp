#include "train/memory_planner.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/error.h"
#include "config/names.h"
#include "plan/report.h"

namespace bessemer::train {
namespace {

constexpr std::size_t kFrontierPoints = 12;
constexpr std::size_t kRemedies = 6;

// Instructions of the accumulate programs by op.
std::map<std::string, int> ops_of(const plan::Plan& plan) {
  std::map<std::string, int> count;
  for (const char* name : {"accumulate_first", "accumulate"}) {
    if (const plan::Program* program = plan.find(name)) {
      for (const plan::Instruction& i : program->instructions) ++count[i.op];
    }
  }
  return count;
}

// What `plan` runs more often than `everything_kept` does.
std::string recomputed_text(const plan::Plan& plan, const plan::Plan& everything_kept) {
  const auto before = ops_of(everything_kept);
  std::string text;
  for (const auto& [op, count] : ops_of(plan)) {
    const auto at = before.find(op);
    const int more = count - (at == before.end() ? 0 : at->second);
    if (more > 0) text += fmt::format("{}{} {}", text.empty() ? "again: " : ", ", more, op);
  }
  return text.empty() ? "everything kept" : text;
}

std::string percent_text(double seconds, double than) {
  return fmt::format("{:+.1f}%", 100 * (seconds / than - 1));
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
  return plan.arena_bytes <= device_budget(config_.memory);
}

void MemoryPlanner::check(const CompiledRun& run) {
  if (fits(run.plan)) return;
  fail_input("the plan does not fit: it needs {}, {} gives {}{}",
             plan::bytes_text(run.plan.arena_bytes),
             config_.memory.device ? "memory.device" : "this machine",
             plan::bytes_text(device_budget(config_.memory)),
             remedies_text(remedies(), run.plan.arena_bytes,
                           plan::predicted_step_seconds(run.plan, run.micro_batches)));
}

std::vector<FrontierPoint> MemoryPlanner::frontier() {
  config::RunConfig config = config_;
  config.memory.recompute = config::Recompute::none;
  const Way kept = compile(config);
  config.memory.recompute = config::Recompute::automatic;
  config.memory.device = config::Bytes{0};
  const std::size_t most = kept.run.plan.arena_bytes;
  const std::size_t least = compile(config).run.plan.arena_bytes;
  std::vector<FrontierPoint> points;
  for (std::size_t i = 0; i < kFrontierPoints; ++i) {
    const std::size_t budget = most - (most - least) * i / (kFrontierPoints - 1);
    config.memory.device = config::Bytes{budget};
    const Way way = compile(config);
    const std::size_t bytes = way.run.plan.arena_bytes;
    if (!points.empty() && bytes >= points.back().device_bytes) continue;
    points.push_back({bytes, way.step_seconds, recomputed_text(way.run.plan, kept.run.plan)});
  }
  return points;
}

std::vector<Remedy> MemoryPlanner::remedies() {
  std::vector<Remedy> all;
  const auto add = [&](std::string change, const config::RunConfig& config) {
    const Way way = compile(config);
    all.push_back(
        {std::move(change), way.run.plan.arena_bytes, way.step_seconds, fits(way.run.plan)});
  };
  config::RunConfig config = config_;
  if (config.memory.recompute != config::Recompute::automatic) {
    config.memory.recompute = config::Recompute::automatic;
    add("memory.recompute = \"auto\"", config);
  }
  for (std::int64_t size = config.train.micro_batch_size - 1; size >= 1; --size) {
    if (config.train.micro_batch_size % size != 0) continue;
    config.train.micro_batch_size = size;
    add(fmt::format("train.micro_batch_size = {}{}", size,
                    config_.memory.recompute == config::Recompute::automatic
                        ? ""
                        : ", memory.recompute = \"auto\""),
        config);
    if (all.back().fits) break;
  }
  std::stable_sort(all.begin(), all.end(), [](const Remedy& a, const Remedy& b) {
    if (a.fits != b.fits) return a.fits;
    return a.fits ? a.step_seconds < b.step_seconds : a.device_bytes < b.device_bytes;
  });
  if (all.size() > kRemedies) all.resize(kRemedies);
  return all;
}

std::string remedies_text(const std::vector<Remedy>& remedies, std::size_t needed,
                          double step_seconds) {
  if (remedies.empty()) return "; lower data.sequence_length or take a smaller model";
  std::string text;
  for (const Remedy& remedy : remedies) {
    text += fmt::format(
        "\n  {}: {} ({}{}), {} time{}", remedy.change, plan::bytes_text(remedy.device_bytes),
        remedy.device_bytes <= needed ? "-" : "+",
        plan::bytes_text(needed > remedy.device_bytes ? needed - remedy.device_bytes
                                                      : remedy.device_bytes - needed),
        percent_text(remedy.step_seconds, step_seconds), remedy.fits ? "" : ", still too much");
  }
  return text;
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
    json.push_back({{"peak_bytes", {{"device", point.device_bytes}}},
                    {"step_seconds", point.step_seconds},
                    {"how", point.how}});
  }
  return json;
}

}  // namespace bessemer::train
