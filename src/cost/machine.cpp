#include "cost/machine.h"

#include <algorithm>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace bessemer::cost {
namespace {

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) {
      const auto colon = line.find(": ");
      if (colon != std::string::npos) return line.substr(colon + 2);
    }
  }
  return "unknown processor";
}

std::map<std::string, FileRates> directories_of(const nlohmann::json& json,
                                                const std::filesystem::path& path) {
  std::map<std::string, FileRates> directories;
  if (!json.contains("directories")) return directories;
  for (const auto& [name, rates] : json["directories"].items()) {
    const auto number = [&, &directory = name, &of = rates](const char* key) {
      const bool good = of.is_object() && of.contains(key) && of[key].is_number() &&
                        of[key].template get<double>() > 0;
      require_input(good, "{}: directories: '{}': '{}' must be a positive number", path.string(),
                    directory, key);
      return of[key].template get<double>();
    };
    directories[name] = {number("read"), number("write")};
  }
  return directories;
}

}  // namespace

// Far below a product's: an eighth is the ratio of their throughput without fused multiply-adds
// kept in registers.
double processor_vector_flops(double matmul_flops_fp32) { return matmul_flops_fp32 / 8; }

namespace {

/// `product_rate`: of the products of matrices, in flop/s.
double roofline_seconds(const ops::Work& work, DType compute, double product_rate,
                        const MachineDescription& machine) {
  double rate = machine.vector_flops;
  if (work.unit == ops::Unit::product) rate = product_rate;
  if (work.unit == ops::Unit::attention) rate = machine.attention_flops(compute);
  const double arithmetic = work.flops / rate + work.vector_flops / machine.vector_flops;
  const double memory = (work.bytes_read + work.bytes_written) / machine.copy_bandwidth;
  return std::max(arithmetic, memory) + machine.instruction_overhead;
}

}  // namespace

double predicted_seconds(const ops::Work& work, DType compute, const MachineDescription& machine) {
  return roofline_seconds(work, compute, machine.layer_flops(compute), machine);
}

double predicted_seconds(const ops::OpUse& use, const ops::Work& work,
                         const MachineDescription& machine) {
  DType compute = DType::fp32;
  for (const auto& operand : use.operands) {
    if (!operand || is_fp8(compute)) continue;
    if (operand->dtype == DType::bf16 || is_fp8(operand->dtype)) compute = operand->dtype;
  }
  const bool tf32 = compute == DType::fp32 && machine.layer_flops_tf32 > 0 &&
                    use.attributes.boolean("tf32", false);
  const double rate = tf32 ? machine.layer_flops_tf32 : machine.layer_flops(compute);
  return roofline_seconds(work, compute, rate, machine);
}

double transfer_seconds(double bytes, ir::Tier tier, Direction direction,
                        const MachineDescription& machine) {
  double bandwidth = machine.copy_bandwidth / 2;
  if (tier == ir::Tier::host) bandwidth = machine.host_bandwidth;
  if (tier == ir::Tier::file) {
    bandwidth = direction == Direction::to_device ? machine.file_read_bandwidth
                                                  : machine.file_write_bandwidth;
  }
  return bytes / bandwidth + machine.instruction_overhead;
}

MachineDescription describe_here() {
  MachineDescription machine;
  machine.cpu = kernels::Machine::detect();
  machine.name = fmt::format("{}, {} threads", processor_name(), machine.cpu.threads);
  return machine;
}

std::optional<MachineDescription> load(const std::filesystem::path& path,
                                       const MachineDescription& here) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const auto json = nlohmann::json::parse(read_file(path), nullptr, false);
  const auto number = [&](const char* key) {
    const bool good = json.is_object() && json.contains(key) && json[key].is_number() &&
                      json[key].get<double>() > 0;
    require_input(good, "{}: '{}' must be a positive number; run 'bessemer doctor --calibrate'",
                  path.string(), key);
    return json[key].get<double>();
  };
  MachineDescription machine = here;
  machine.matmul_flops_fp32 = number("matmul_flops_fp32");
  machine.matmul_flops_bf16 = number("matmul_flops_bf16");
  machine.copy_bandwidth = number("copy_bandwidth");
  if (!json.contains("layer_flops_fp32")) return std::nullopt;  // of an older version
  machine.layer_flops_fp32 = number("layer_flops_fp32");
  machine.layer_flops_bf16 = number("layer_flops_bf16");
  if (json.contains("layer_flops_fp8")) {
    machine.matmul_flops_fp8 = number("matmul_flops_fp8");
    machine.layer_flops_fp8 = number("layer_flops_fp8");
  }
  if (!json.contains("host_bandwidth")) return std::nullopt;  // of an older version
  machine.host_bandwidth = number("host_bandwidth");
  if (!json.contains("attention_flops_fp32")) return std::nullopt;  // of an older version
  machine.attention_flops_fp32 = number("attention_flops_fp32");
  machine.attention_flops_bf16 = number("attention_flops_bf16");
  if (!json.contains("name") || json["name"] != here.name) return std::nullopt;
  // Files of older versions have no more.
  const auto number_or = [&](const char* key, double otherwise) {
    return json.contains(key) ? number(key) : otherwise;
  };
  machine.vector_flops =
      number_or("vector_flops", processor_vector_flops(machine.matmul_flops_fp32));
  machine.to_device_bandwidth = number_or("to_device_bandwidth", machine.host_bandwidth);
  machine.from_device_bandwidth = number_or("from_device_bandwidth", machine.host_bandwidth);
  machine.instruction_overhead = number_or("instruction_overhead", here.instruction_overhead);
  machine.layer_flops_tf32 = number_or("layer_flops_tf32", here.layer_flops_tf32);
  machine.directories = directories_of(json, path);
  machine.measured = true;
  return machine;
}

void save(const MachineDescription& machine, const std::filesystem::path& path) {
  nlohmann::json json{{"name", machine.name},
                      {"matmul_flops_fp32", machine.matmul_flops_fp32},
                      {"matmul_flops_bf16", machine.matmul_flops_bf16},
                      {"layer_flops_fp32", machine.layer_flops_fp32},
                      {"layer_flops_bf16", machine.layer_flops_bf16},
                      {"attention_flops_fp32", machine.attention_flops_fp32},
                      {"attention_flops_bf16", machine.attention_flops_bf16},
                      {"vector_flops", machine.vector_flops},
                      {"copy_bandwidth", machine.copy_bandwidth},
                      {"host_bandwidth", machine.host_bandwidth}};
  if (machine.layer_flops_fp8 > 0) {
    json["matmul_flops_fp8"] = machine.matmul_flops_fp8;
    json["layer_flops_fp8"] = machine.layer_flops_fp8;
  }
  if (machine.cpu.device == kernels::Backend::cuda) {  // of a processor they are not measured
    json["to_device_bandwidth"] = machine.to_device_bandwidth;
    json["from_device_bandwidth"] = machine.from_device_bandwidth;
    json["instruction_overhead"] = machine.instruction_overhead;
    json["layer_flops_tf32"] = machine.layer_flops_tf32;
  }
  for (const auto& [directory, rates] : machine.directories) {
    json["directories"][directory] = {{"read", rates.read}, {"write", rates.write}};
  }
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
  write_file_atomically(path, json.dump(2) + "\n");
}

}  // namespace bessemer::cost
