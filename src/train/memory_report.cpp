#include "train/memory_report.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "config/names.h"
#include "plan/report.h"
#include "train/offload.h"

namespace bessemer::train {
namespace {

std::string percent_text(double seconds, double than) {
  return fmt::format("{:+.1f}%", 100 * (seconds / than - 1));
}

std::string remedies_text(const std::vector<Remedy>& remedies, const Price& needed) {
  if (remedies.empty()) return "; lower data.sequence_length or take a smaller model";
  std::string text = "; what would need less:";
  for (const Remedy& remedy : remedies) {
    text += fmt::format("\n  {}: {} (-{}), {} time{}", remedy.change,
                        plan::bytes_text(remedy.device_bytes),
                        plan::bytes_text(needed.device_bytes() - remedy.device_bytes),
                        percent_text(remedy.step_seconds, needed.step_seconds),
                        remedy.fits ? "" : ", still too much");
  }
  return text;
}

}  // namespace

std::string how_text(const Way& way, const Operations& operations, const Operations& kept) {
  std::string moved, again;
  for (const config::OffloadItem& item : way.offload) {
    moved += fmt::format("{}{}", moved.empty() ? "" : ", ", config::name_of(item.what));
    if (item.to == config::OffloadTier::file) moved += " (file)";
  }
  for (const auto& [op, count] : kept.count) {
    const auto now = operations.count.find(op);
    const long more = now == operations.count.end() ? 0 : std::lround(now->second - count);
    if (more > 0) again += fmt::format("{}{} {}", again.empty() ? "" : ", ", more, op);
  }
  std::vector<std::string> parts;
  if (!moved.empty()) parts.push_back("moved: " + moved);
  if (way.piece != kWhole) {
    parts.push_back(fmt::format("in pieces of {}", plan::bytes_text(way.piece)));
  }
  if (operations.head_chunks > kept.head_chunks) {
    parts.push_back(fmt::format("head in {} chunks", operations.head_chunks));
  }
  if (operations.mlp_chunks != 1) {
    parts.push_back(fmt::format("MLP in {} chunks", operations.mlp_chunks));
  }
  if (!again.empty()) parts.push_back("again: " + again);
  return parts.empty() ? "everything kept" : fmt::format("{}", fmt::join(parts, "; "));
}

std::string refusal_text(const config::MemoryConfig& memory, const config::MemoryConfig& budgets,
                         const Price& needed, const std::vector<Remedy>& remedies) {
  std::string lower;
  for (const ir::Tier tier : {ir::Tier::host, ir::Tier::file}) {
    if (const std::size_t bytes = needed.bytes[ir::index_of(tier)]) {
      lower += fmt::format(" and {} of the {} tier", plan::bytes_text(bytes), name_of(tier));
    }
  }
  std::string have = fmt::format("{} gives {}", memory.device ? "memory.device" : "this machine",
                                 plan::bytes_text(device_budget(budgets)));
  if (memory.host) have += ", memory.host gives " + plan::bytes_text(memory.host->count);
  if (memory.file) have += ", memory.file gives " + plan::bytes_text(memory.file->bytes.count);
  return fmt::format("the plan does not fit: it needs {} of the device tier{}; {}{}",
                     plan::bytes_text(needed.device_bytes()), lower, have,
                     remedies_text(remedies, needed));
}

std::string frontier_text(const std::vector<FrontierPoint>& points) {
  const bool varies = std::any_of(points.begin(), points.end(), [&](const FrontierPoint& point) {
    return point.micro_batch_size != points.front().micro_batch_size;
  });
  std::string text = "frontier: device budget against predicted step\n";
  for (const FrontierPoint& point : points) {
    text += fmt::format(
        "  {:>9}  {:>9.3f} s  {:>7}  {}{}\n", plan::bytes_text(point.device_bytes),
        point.step_seconds, percent_text(point.step_seconds, points.front().step_seconds),
        varies ? fmt::format("micro-batch {}; ", point.micro_batch_size) : "", point.how);
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
         {"micro_batch_size", point.micro_batch_size},
         {"how", point.how}});
  }
  return json;
}

}  // namespace bessemer::train
