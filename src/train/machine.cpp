#include "train/machine.h"

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

// The processor keeps what it is: it does the host's part.
cost::MachineDescription with_device(cost::MachineDescription host, const config::Device& device) {
  if (device.kind == Kind::cpu) return host;
  const kernels::cuda::Devices all = kernels::cuda::find_devices();
  const auto& found = all.devices.at(static_cast<std::size_t>(device.index));
  return cost::assumed_cuda_machine({found.name, found.compute_capability, found.memory_bytes},
                                    std::move(host));
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

config::Device resolve(const config::Device& device) {
  if (device.kind == Kind::cpu) return device;
  const kernels::cuda::Devices found = kernels::cuda::find_devices();
  const auto count = static_cast<int>(found.devices.size());
  if (device.kind == Kind::automatic) return {count > 0 ? Kind::cuda : Kind::cpu, 0};
  require_input(count > 0, "run.device = \"cuda:{}\": {}", device.index, found.problem);
  require_input(device.index < count, "run.device = \"cuda:{}\": this machine has {} CUDA device{}",
                device.index, count, count == 1 ? "" : "s");
  return device;
}

std::filesystem::path calibration_path() {
  return config::cache_directory() / fmt::format("machine-{}.json", thread_count());
}

cost::MachineDescription calibrate() {
  cost::MachineDescription machine = cost::describe_here();
  machine.matmul_flops_fp32 = kernels::cpu::measure_matmul_peak(DType::fp32);
  machine.matmul_flops_bf16 = kernels::cpu::measure_matmul_peak(DType::bf16);
  machine.layer_flops_fp32 = kernels::cpu::measure_layer_rate(DType::fp32);
  machine.layer_flops_bf16 = kernels::cpu::measure_layer_rate(DType::bf16);
  machine.attention_flops_fp32 = kernels::cpu::measure_attention_rate(DType::fp32);
  machine.attention_flops_bf16 = kernels::cpu::measure_attention_rate(DType::bf16);
  machine.copy_bandwidth = kernels::cpu::measure_copy_bandwidth();
  machine.host_bandwidth = kernels::cpu::measure_link_bandwidth();
  machine.measured = true;
  keep_calibration(machine);
  return machine;
}

void keep_calibration(const cost::MachineDescription& machine) {
  try {
    cost::save(machine, calibration_path());
  } catch (const std::exception& error) {  // a read-only home costs a measurement at the next start
    log::warn("the calibration is not kept: {}", error.what());
  }
}

cost::MachineDescription known_machine(const config::Device& device) {
  const cost::MachineDescription here = cost::describe_here();
  cost::MachineDescription host = cost::load(calibration_path(), here).value_or(here);
  return with_device(std::move(host), resolve(device));
}

cost::MachineDescription measured_machine(const config::Device& device) {
  const config::Device resolved = resolve(device);
  const cost::MachineDescription known = known_machine(resolved);
  if (known.measured || resolved.kind == Kind::cuda) return known;
  log::info("measuring this machine's rates once (kept in {})", calibration_path().string());
  return calibrate();
}

std::shared_ptr<kernels::cuda::Device> open_device(const config::Device& device) {
  const config::Device resolved = resolve(device);
  if (resolved.kind == Kind::cpu) return nullptr;
  keep_compiled_code();
  return kernels::cuda::open_device(resolved.index);
}

}  // namespace bessemer::train
