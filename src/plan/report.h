// How a plan is shown: the text of `bessemer plan` and of runs/NAME/plan.txt, and the same as JSON.
// Everything in it is a prediction, and says so; what was measured is in metrics.jsonl.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "plan/plan.h"

namespace bessemer::plan {

/// Memory of the process that is not in the plan's arena.
struct OutsideEntry {
  std::string name;
  std::size_t bytes = 0;
  enum class How { computed, measured, allowance } how = How::computed;
};
std::string_view name_of(OutsideEntry::How how);

struct ReportOptions {
  std::string heading;               // the first lines: what is planned; may be empty
  std::int64_t micro_batches = 1;    // of a step
  std::int64_t tokens_per_step = 0;  // 0: not known, no tok/s
  std::size_t largest = 12;          // entries of the ledger listed by name
  std::vector<OutsideEntry> outside;
};

/// Seconds of one optimiser step: a micro-batch for each of `micro_batches`, and the update, with
/// refresh_rest, or as far as it does not run beside the last micro-batch (a speculative one:
/// confirmed). 0 where the plan has no training programs.
double predicted_step_seconds(const Plan& plan, std::int64_t micro_batches);

/// The same from the seconds of programs by name; `seconds` gives 0 for those that are not there.
double step_seconds(std::int64_t micro_batches,
                    const std::function<double(const std::string&)>& seconds);

/// What the process will hold at its peak: the arena and what lies outside it.
std::size_t predicted_process_bytes(const Plan& plan, const std::vector<OutsideEntry>& outside);

/// "1.50 GiB", "12.0 KiB", "64 B": three digits and a binary unit.
std::string bytes_text(std::size_t bytes);

/// The report for people: machine, memory by category and by name, programs, operations, step.
std::string describe(const Plan& plan, const ReportOptions& options);

/// The report for programs:
///   peak_bytes      {"device", "host", "file": bytes of the tier's arena}
///   ledger          [{name, category, tier, bytes}], summing to each tier's peak
///   outside         [{name, bytes, how}], beside the arenas; how: computed, measured, allowance
///   process_bytes   of the arenas of device and host and all that
///   step_seconds    predicted_step_seconds; null where the plan does not train
///   tokens_per_second  null where not known
///   machine         {name, measured, matmul_flops_fp32, matmul_flops_bf16, copy_bandwidth,
///                     host_bandwidth, file_read_bandwidth, file_write_bandwidth}
///   programs        [{name, seconds, flops, bytes, transient_bytes, live_peak_bytes,
///                     instructions: [{op, label, kernel, flops, bytes, scratch_bytes, stream,
///                     seconds}]}]
nlohmann::json to_json(const Plan& plan, const ReportOptions& options);

}  // namespace bessemer::plan
