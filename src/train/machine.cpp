#include "train/machine.h"

#include <cctype>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "config/environment.h"
#include "cost/cuda_devices.h"
#include "kernels/cpu/calibrate.h"
#include "kernels/cuda/jit.h"
#include "kernels/cuda/product_table.h"

namespace bessemer::train {
namespace {

using Kind = config::Device::Kind;

// With assumed rates. The processor keeps what it is: it does the host's part.
cost::MachineDescription described(const config::Device& device) {
  cost::MachineDescription host = cost::describe_here();
  if (device.kind == Kind::cpu) return host;
  const kernels::cuda::Devices all = kernels::cuda::find_devices();
  const auto& found = all.devices.at(static_cast<std::size_t>(device.index));
  return cost::assumed_cuda_machine(
      {found.name, found.compute_capability, found.memory_bytes, all.driver}, std::move(host));
}

// "NVIDIA H100 80GB HBM3, driver CUDA 13.0" as part of a file's name.
std::string file_name_of(std::string_view name) {
  std::string file;
  for (const char c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.';
    if (plain) {
      file += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!file.empty() && file.back() != '-') {
      file += '-';
    }
  }
  return file;
}

cost::MachineDescription calibrate_processor() {
  cost::MachineDescription machine = cost::describe_here();
  machine.matmul_flops_fp32 = kernels::cpu::measure_matmul_peak(DType::fp32);
  machine.matmul_flops_bf16 = kernels::cpu::measure_matmul_peak(DType::bf16);
  machine.layer_flops_fp32 = kernels::cpu::measure_layer_rate(DType::fp32);
  machine.layer_flops_bf16 = kernels::cpu::measure_layer_rate(DType::bf16);
  machine.attention_flops_fp32 = kernels::cpu::measure_attention_rate(DType::fp32);
  machine.attention_flops_bf16 = kernels::cpu::measure_attention_rate(DType::bf16);
  machine.vector_flops = cost::processor_vector_flops(machine.matmul_flops_fp32);
  machine.copy_bandwidth = kernels::cpu::measure_copy_bandwidth();
  machine.host_bandwidth = kernels::cpu::measure_link_bandwidth();
  machine.measured = true;
  keep_calibration(machine);
  return machine;
}

// A read-only home costs the compiling and timing at the next start.
void keep_compiled_code() {
  const std::filesystem::path kept = config::cache_directory() / "cuda";
  std::error_code failed;
  std::filesystem::create_directories(kept, failed);
  if (failed) return log::warn("{} cannot be made: {}", kept.string(), failed.message());
  kernels::cuda::set_code_cache(kept);
  kernels::cuda::product_table().keep_in(kept);
}

}  // namespace

config::Device resolve(const config::Device& device, std::string_view asked) {
  if (device.kind == Kind::cpu) return device;
  const kernels::cuda::Devices found = kernels::cuda::find_devices();
  const auto count = static_cast<int>(found.devices.size());
  if (device.kind == Kind::automatic) return {count > 0 ? Kind::cuda : Kind::cpu, 0};
  require_input(count > 0, "{} \"cuda:{}\": {}", asked, device.index, found.problem);
  require_input(device.index < count, "{} \"cuda:{}\": this machine has {} CUDA device{}", asked,
                device.index, count, count == 1 ? "" : "s");
  return device;
}

std::filesystem::path calibration_path(const cost::MachineDescription& machine) {
  if (machine.cpu.device == kernels::Backend::cuda) {
    return config::cache_directory() / "cuda" / (file_name_of(machine.name) + ".json");
  }
  return config::cache_directory() / fmt::format("machine-{}.json", machine.cpu.threads);
}

std::filesystem::path calibration_path() { return calibration_path(cost::describe_here()); }

void keep_calibration(const cost::MachineDescription& machine) {
  try {
    cost::save(machine, calibration_path(machine));
  } catch (const std::exception& error) {  // a read-only home costs a measurement at the next start
    log::warn("the calibration is not kept: {}", error.what());
  }
}

cost::MachineDescription with_kept_rates(cost::MachineDescription machine) {
  return cost::load(calibration_path(machine), machine).value_or(machine);
}

cost::MachineDescription calibrate(kernels::cuda::Device& device, cost::MachineDescription of,
                                   const kernels::cuda::CalibrationSizes& sizes) {
  const cost::MachineDescription machine =
      cost::with_rates(std::move(of), kernels::cuda::measure_rates(device, sizes));
  keep_calibration(machine);
  return machine;
}

cost::MachineDescription calibrate(const config::Device& device) {
  const config::Device resolved = resolve(device);
  if (resolved.kind == Kind::cpu) return calibrate_processor();
  return calibrate(*open_device(resolved), described(resolved));
}

cost::MachineDescription known_machine(const config::Device& device) {
  return with_kept_rates(described(resolve(device)));
}

cost::MachineDescription measured_machine(const config::Device& device) {
  const config::Device resolved = resolve(device);
  const cost::MachineDescription known = known_machine(resolved);
  if (known.measured) return known;
  log::info("measuring the rates of {} once (kept in {})", known.name,
            calibration_path(known).string());
  if (resolved.kind == Kind::cpu) return calibrate_processor();
  try {
    return calibrate(*open_device(resolved), known);
  } catch (const Error& error) {
    log::warn("its rates are assumed, because they cannot be measured: {}", error.what());
    return known;
  }
}

std::shared_ptr<kernels::cuda::Device> open_device(const config::Device& device) {
  const config::Device resolved = resolve(device);
  if (resolved.kind == Kind::cpu) return nullptr;
  keep_compiled_code();
  return kernels::cuda::open_device(resolved.index);
}

}  // namespace bessemer::train
