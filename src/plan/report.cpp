#include "plan/report.h"

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include <fmt/format.h>

namespace bessemer::plan {
namespace {

constexpr std::array<std::string_view, 11> kCategories{
    "parameters", "optimizer",  "gradients", "weights",       "cache", "data",
    "stash",      "transients", "scratch",   "communication", "unused"};

double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

double bytes_moved(const ops::Work& work) { return work.bytes_read + work.bytes_written; }

/// Rows of text, columns padded to the widest cell: the first `left` columns to the left, the
/// others to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header, std::size_t left = 1) : left_(left) {
    add(std::move(header));
  }

  void add(std::vector<std::string> row) {
    widths_.resize(std::max(widths_.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths_[i] = std::max(widths_[i], row[i].size());
    }
    rows_.push_back(std::move(row));
  }

  std::string text() const {
    std::string text;
    for (const auto& row : rows_) {
      std::string line = " ";
      for (std::size_t i = 0; i < row.size(); ++i) {
        line += i < left_ ? fmt::format(" {:<{}} ", row[i], widths_[i])
                          : fmt::format(" {:>{}} ", row[i], widths_[i]);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      text += line + '\n';
    }
    return text;
  }

 private:
  std::size_t left_;
  std::vector<std::size_t> widths_;
  std::vector<std::vector<std::string>> rows_;
};

std::string milliseconds(double seconds) {
  return fmt::format("{:.{}f} ms", 1e3 * seconds, seconds < 0.01 ? 3 : 1);
}

std::string duration_text(double seconds) {
  return seconds < 1 ? milliseconds(seconds) : fmt::format("{:.2f} s", seconds);
}

std::string machine_text(const cost::MachineDescription& machine) {
  const double fp8 = machine.matmul_flops_fp8;
  return fmt::format(
      "machine  {}\n"
      "rates    {:.1f} GFLOP/s fp32, {:.1f} GFLOP/s bf16, {}{:.1f} GB/s copied ({})\n",
      machine.name, machine.matmul_flops_fp32 / 1e9, machine.matmul_flops_bf16 / 1e9,
      fp8 > 0 ? fmt::format("{:.1f} GFLOP/s fp8, ", fp8 / 1e9) : "", machine.copy_bandwidth / 1e9,
      machine.measured ? "measured here"
                       : "assumed, so are all times below; `bessemer doctor --calibrate` "
                         "measures a machine that is here");
}

std::string tier_text(const Plan& plan, ir::Tier tier, const std::vector<LedgerEntry>& entries) {
  std::map<std::string_view, std::pair<std::size_t, std::size_t>> sums;  // bytes, entries
  std::size_t all = 0;
  for (const LedgerEntry& entry : entries) {
    if (entry.tier != tier) continue;
    auto& [bytes, count] = sums[entry.category];
    bytes += entry.bytes;
    ++count;
    ++all;
  }
  const auto arena = static_cast<double>(plan.bytes(tier));
  Table table({"category", "bytes", "share", "entries"});
  for (const std::string_view category : kCategories) {
    const auto found = sums.find(category);
    if (found == sums.end()) continue;
    const auto [bytes, count] = found->second;
    table.add({std::string(category), bytes_text(bytes),
               fmt::format("{:.1f}%", percent(static_cast<double>(bytes), arena)),
               std::to_string(count)});
  }
  table.add({"arena", bytes_text(plan.bytes(tier)), "100.0%", std::to_string(all)});
  return fmt::format("memory at the peak ({} tier)\n{}", name_of(tier), table.text());
}

// The device, and the lower tiers that are used.
std::string memory_text(const Plan& plan, const std::vector<LedgerEntry>& entries) {
  std::string text = tier_text(plan, ir::Tier::device, entries);
  for (const ir::Tier tier : {ir::Tier::host, ir::Tier::file}) {
    if (plan.bytes(tier) > 0) text += '\n' + tier_text(plan, tier, entries);
  }
  return text;
}

std::string largest_text(std::vector<LedgerEntry> entries, std::size_t most) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const LedgerEntry& a, const LedgerEntry& b) { return a.bytes > b.bytes; });
  Table table({"name", "category", "bytes"}, 2);
  for (std::size_t i = 0; i < std::min(most, entries.size()); ++i) {
    table.add({entries[i].name, entries[i].category, bytes_text(entries[i].bytes)});
  }
  return "largest entries\n" + table.text();
}

std::string outside_text(const Plan& plan, const std::vector<OutsideEntry>& outside) {
  if (outside.empty()) return "";
  Table table({"outside the arena", "bytes", "how known"});
  for (const OutsideEntry& entry : outside) {
    table.add({entry.name, bytes_text(entry.bytes), std::string(name_of(entry.how))});
  }
  table.add({"process, with its arenas", bytes_text(predicted_process_bytes(plan, outside))});
  return "memory of the process\n" + table.text() + '\n';
}

std::string programs_text(const Plan& plan) {
  Table table(
      {"program", "instructions", "GFLOP", "GB moved", "predicted", "transients", "lower bound"});
  for (const Program& program : plan.programs) {
    const ops::Work work = program.work();
    table.add({program.name, std::to_string(program.instructions.size()),
               fmt::format("{:.2f}", work.flops / 1e9),
               fmt::format("{:.3f}", bytes_moved(work) / 1e9),
               milliseconds(program.predicted_seconds()), bytes_text(program.transient_bytes),
               bytes_text(program.live_peak_bytes)});
  }
  return "programs (lower bound: bytes alive at once, whatever the offsets)\n" + table.text();
}

struct OpSummary {
  std::string op;
  std::size_t count = 0;
  std::vector<std::string> kernels;
  double flops = 0, bytes = 0, seconds = 0;
};

std::vector<OpSummary> summaries_of(const Program& program) {
  std::vector<OpSummary> all;
  for (const Instruction& instruction : program.instructions) {
    auto at = std::find_if(all.begin(), all.end(),
                           [&](const OpSummary& s) { return s.op == instruction.op; });
    if (at == all.end()) at = all.insert(all.end(), OpSummary{instruction.op});
    ++at->count;
    at->flops += instruction.work.flops;
    at->bytes += bytes_moved(instruction.work);
    at->seconds += instruction.seconds;
    if (std::find(at->kernels.begin(), at->kernels.end(), instruction.kernel) ==
        at->kernels.end()) {
      at->kernels.push_back(instruction.kernel);
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const OpSummary& a, const OpSummary& b) { return a.seconds > b.seconds; });
  return all;
}

// The program a run spends its time in.
const Program* main_program(const Plan& plan) {
  for (const char* name :
       {"accumulate", "accumulate_last", "accumulate_first", "evaluate", "decode"}) {
    if (const Program* program = plan.find(name)) return program;
  }
  return nullptr;
}

std::string operations_text(const Program& program) {
  const double total = program.predicted_seconds();
  Table table({"op", "kernels", "count", "GFLOP", "GB moved", "predicted", "share"}, 2);
  for (const OpSummary& s : summaries_of(program)) {
    table.add({s.op, fmt::format("{}", fmt::join(s.kernels, " ")), std::to_string(s.count),
               fmt::format("{:.2f}", s.flops / 1e9), fmt::format("{:.3f}", s.bytes / 1e9),
               milliseconds(s.seconds), fmt::format("{:.1f}%", percent(s.seconds, total))});
  }
  return fmt::format("operations of {}\n{}", program.name, table.text());
}

std::string step_text(const Plan& plan, const ReportOptions& options) {
  const double seconds = predicted_step_seconds(plan, options.micro_batches);
  if (seconds <= 0) return "";
  std::string text = fmt::format("predicted step: {} ({} micro-batch{})", duration_text(seconds),
                                 options.micro_batches, options.micro_batches == 1 ? "" : "es");
  if (options.tokens_per_step > 0) {
    text += fmt::format(", {} tokens, {:.0f} tok/s", options.tokens_per_step,
                        static_cast<double>(options.tokens_per_step) / seconds);
  }
  return text + "\n";
}

nlohmann::json to_json(const Program& program) {
  nlohmann::json instructions = nlohmann::json::array();
  for (const Instruction& i : program.instructions) {
    instructions.push_back({{"op", i.op},
                            {"label", i.label},
                            {"kernel", i.kernel},
                            {"flops", i.work.flops},
                            {"bytes", bytes_moved(i.work)},
                            {"scratch_bytes", i.scratch_bytes},
                            {"stream", name_of(i.stream)},
                            {"seconds", i.seconds}});
  }
  const ops::Work work = program.work();
  return {{"name", program.name},
          {"seconds", program.predicted_seconds()},
          {"flops", work.flops},
          {"bytes", bytes_moved(work)},
          {"transient_bytes", program.transient_bytes},
          {"live_peak_bytes", program.live_peak_bytes},
          {"instructions", std::move(instructions)}};
}

}  // namespace

std::string_view name_of(OutsideEntry::How how) {
  switch (how) {
    case OutsideEntry::How::computed: return "computed";
    case OutsideEntry::How::measured: return "measured";
    case OutsideEntry::How::allowance: return "allowance";
  }
  return "computed";
}

std::size_t predicted_process_bytes(const Plan& plan, const std::vector<OutsideEntry>& outside) {
  std::size_t bytes = plan.bytes(ir::Tier::host);
  if (plan.machine.device_memory == 0) bytes += plan.bytes(ir::Tier::device);
  for (const OutsideEntry& entry : outside) bytes += entry.bytes;
  return bytes;
}

double step_seconds(std::int64_t micro_batches,
                    const std::function<double(const std::string&)>& seconds) {
  const double last = seconds("accumulate_last");  // 0 where it is like the others
  const std::int64_t others = micro_batches - (last > 0 ? 1 : 0);
  const double first = seconds("accumulate_first"), next = seconds("accumulate");
  const double accumulated =
      others < 1 ? 0 : first + static_cast<double>(others - 1) * (next > 0 ? next : first);
  const double check = seconds("check");  // a speculative update, as where nothing is clipped
  return accumulated + last + (check > 0 ? check : seconds("update") + seconds("refresh_rest"));
}

double predicted_step_seconds(const Plan& plan, std::int64_t micro_batches) {
  const bool trains = plan.find("accumulate_first") != nullptr ||  //
                      plan.find("accumulate_last") != nullptr;
  if (!trains) return 0;
  return step_seconds(micro_batches, [&](const std::string& name) {
    const Program* program = plan.find(name);
    return program == nullptr ? 0.0 : program->predicted_seconds();
  });
}

std::string bytes_text(std::size_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  constexpr std::array<const char*, 5> kUnits{"KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, digits, kUnits[unit]);
}

std::string describe(const Plan& plan, const ReportOptions& options) {
  const std::vector<LedgerEntry> entries = ledger(plan);
  std::string text = options.heading;
  if (!text.empty() && text.back() != '\n') text += '\n';
  text += machine_text(plan.machine) + '\n';
  text += memory_text(plan, entries) + '\n';
  text += largest_text(entries, options.largest) + '\n';
  text += outside_text(plan, options.outside);
  text += programs_text(plan);
  if (const Program* program = main_program(plan)) text += '\n' + operations_text(*program);
  if (const std::string step = step_text(plan, options); !step.empty()) text += '\n' + step;
  return text;
}

nlohmann::json to_json(const Plan& plan, const ReportOptions& options) {
  nlohmann::json entries = nlohmann::json::array();
  for (const LedgerEntry& entry : ledger(plan)) {
    entries.push_back({{"name", entry.name},
                       {"category", entry.category},
                       {"tier", name_of(entry.tier)},
                       {"bytes", entry.bytes}});
  }
  nlohmann::json outside = nlohmann::json::array();
  for (const OutsideEntry& entry : options.outside) {
    outside.push_back({{"name", entry.name}, {"bytes", entry.bytes}, {"how", name_of(entry.how)}});
  }
  nlohmann::json programs = nlohmann::json::array();
  for (const Program& program : plan.programs) programs.push_back(to_json(program));
  const double seconds = predicted_step_seconds(plan, options.micro_batches);
  nlohmann::json json{{"peak_bytes",
                       {{"device", plan.bytes(ir::Tier::device)},
                        {"host", plan.bytes(ir::Tier::host)},
                        {"file", plan.bytes(ir::Tier::file)}}},
                      {"ledger", std::move(entries)},
                      {"outside", std::move(outside)},
                      {"process_bytes", predicted_process_bytes(plan, options.outside)},
                      {"step_seconds", nullptr},
                      {"tokens_per_second", nullptr},
                      {"micro_batches", options.micro_batches},
                      {"machine",
                       {{"name", plan.machine.name},
                        {"measured", plan.machine.measured},
                        {"matmul_flops_fp32", plan.machine.matmul_flops_fp32},
                        {"matmul_flops_bf16", plan.machine.matmul_flops_bf16},
                        {"matmul_flops_fp8", plan.machine.matmul_flops(DType::fp8_e4m3)},
                        {"copy_bandwidth", plan.machine.copy_bandwidth},
                        {"host_bandwidth", plan.machine.host_bandwidth},
                        {"file_read_bandwidth", plan.machine.file_read_bandwidth},
                        {"file_write_bandwidth", plan.machine.file_write_bandwidth}}},
                      {"programs", std::move(programs)}};
  if (seconds > 0) json["step_seconds"] = seconds;
  if (seconds > 0 && options.tokens_per_step > 0) {
    json["tokens_per_second"] = static_cast<double>(options.tokens_per_step) / seconds;
  }
  return json;
}

}  // namespace bessemer::plan
