#include "cost/cuda_devices.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"

namespace bessemer::cost {
namespace {

constexpr DataSheet kDataSheets[] = {
    {"a100-40gb", "A100-SXM4-40GB", 80, 0, 312, 19.5, 40, 1555, 31.5},
    {"a100-80gb", "A100-SXM4-80GB", 80, 0, 312, 19.5, 80, 2039, 31.5},
    {"rtx-3090", "RTX 3090", 86, 0, 71, 35.6, 24, 936, 31.5},
    {"rtx-4090", "RTX 4090", 89, 330.3, 165.2, 82.6, 24, 1008, 31.5},
    {"l40s", "L40S", 89, 733, 362, 91.6, 48, 864, 31.5},
    {"h100-pcie", "H100 PCIe", 90, 1513, 756, 51, 80, 2000, 63},
    {"h100", "H100", 90, 1979, 989, 67, 80, 3350, 63},
    {"h200", "H200", 90, 1979, 989, 67, 141, 4800, 63},
};

// Shares of those rates that large products, the products of a layer, attention with its softmax,
// and copies are taken to reach. Assumptions, until a device is measured.
constexpr double kPeak = 0.75, kLayer = 0.6, kAttention = 0.4, kCopy = 0.9, kLink = 0.8;
constexpr double kLaunch = 2e-6;  // seconds, of an instruction replayed in a graph
// Bytes of device memory for a logit's softmax and gradient: fp32 is read, once more from a cache,
// and the gradient written.
constexpr double kLogitBytes = 10;
constexpr double kReserve = 0.97;  // what the driver and its libraries leave of the memory

// What ops::Work counts for a logit's softmax and gradient: that is nearly all of the arithmetic
// outside products that is not bound by memory, so its rate is the vector units'.
double flops_of_logit() {
  const ops::OpUse use{
      {TensorType{DType::fp32, {1, 1}}, TensorType{DType::int32, {1}}, TensorType{DType::fp32, {}}},
      {}};
  const ops::OpDefinition& op = ops::definition_of("cross_entropy_rows_train");
  return op.work(use, op.infer(use)).vector_flops;
}

MachineDescription assume(const DataSheet& sheet, MachineDescription machine) {
  machine.name = fmt::format("{} (assumed from its data sheet)", sheet.name);
  machine.cpu.device = kernels::Backend::cuda;
  machine.cpu.compute_capability = sheet.compute_capability;
  const double fp8 = sheet.fp8_tflops * 1e12, bf16 = sheet.bf16_tflops * 1e12,
               fp32 = sheet.fp32_tflops * 1e12;
  machine.matmul_flops_fp8 = kPeak * fp8;
  machine.matmul_flops_bf16 = kPeak * bf16;
  machine.matmul_flops_fp32 = kPeak * fp32;
  machine.layer_flops_fp8 = kLayer * fp8;
  machine.layer_flops_bf16 = kLayer * bf16;
  machine.layer_flops_tf32 = kLayer * bf16 / 2;  // on all of these
  machine.layer_flops_fp32 = kLayer * fp32;
  machine.attention_flops_bf16 = kAttention * bf16;
  machine.attention_flops_fp32 = kAttention * fp32;
  machine.copy_bandwidth = kCopy * sheet.memory_gb_per_second * 1e9;
  machine.vector_flops = flops_of_logit() * machine.copy_bandwidth / kLogitBytes;
  machine.host_bandwidth = kLink * sheet.host_gb_per_second * 1e9;
  machine.to_device_bandwidth = machine.from_device_bandwidth = machine.host_bandwidth;
  machine.instruction_overhead = kLaunch;
  machine.device_memory = static_cast<std::size_t>(kReserve * sheet.memory_gb * 1e9);
  machine.measured = false;
  return machine;
}

// The known one, else the first of the youngest generation that the device is not behind.
const DataSheet& sheet_of(const CudaDevice& device) {
  if (const DataSheet* known = data_sheet(device.name)) return *known;
  const DataSheet* nearest = &kDataSheets[0];
  for (const DataSheet& sheet : kDataSheets) {
    const bool runs = sheet.compute_capability <= device.compute_capability;
    if (runs && sheet.compute_capability > nearest->compute_capability) nearest = &sheet;
  }
  return *nearest;
}

}  // namespace

// The first whose product is in the name: longer ones stand before their beginnings.
const DataSheet* data_sheet(std::string_view driver_name) {
  for (const DataSheet& sheet : kDataSheets) {
    if (driver_name.find(sheet.product) != std::string_view::npos) return &sheet;
  }
  return nullptr;
}

std::vector<std::string_view> known_cuda_devices() {
  std::vector<std::string_view> names;
  for (const DataSheet& sheet : kDataSheets) names.push_back(sheet.name);
  return names;
}

MachineDescription assumed_cuda_machine(std::string_view name, MachineDescription host) {
  const auto sheet = std::find_if(std::begin(kDataSheets), std::end(kDataSheets),
                                  [&](const DataSheet& s) { return s.name == name; });
  require_input(sheet != std::end(kDataSheets), "machine '{}' is not known; known are {}", name,
                fmt::join(known_cuda_devices(), ", "));
  return assume(*sheet, std::move(host));
}

MachineDescription assumed_cuda_machine(const CudaDevice& device, MachineDescription host) {
  MachineDescription machine = assume(sheet_of(device), std::move(host));
  machine.name = fmt::format("{}, driver {}", device.name, device.driver);
  machine.cpu.compute_capability = device.compute_capability;
  machine.device_memory =
      static_cast<std::size_t>(kReserve * static_cast<double>(device.memory_bytes));
  return machine;
}

MachineDescription with_rates(MachineDescription machine, const kernels::cuda::DeviceRates& rates) {
  machine.matmul_flops_fp32 = rates.fp32.peak;
  machine.matmul_flops_bf16 = rates.bf16.peak;
  machine.layer_flops_fp32 = rates.fp32.layer;
  machine.layer_flops_bf16 = rates.bf16.layer;
  machine.matmul_flops_fp8 = rates.fp8.peak;
  machine.layer_flops_fp8 = rates.fp8.layer;
  machine.layer_flops_tf32 = rates.tf32_layer;
  machine.attention_flops_fp32 = rates.fp32.attention;
  machine.attention_flops_bf16 = rates.bf16.attention;
  machine.vector_flops = flops_of_logit() * rates.softmax_rate;
  machine.copy_bandwidth = rates.copy_bandwidth;
  machine.host_bandwidth = rates.both_ways_bandwidth;
  machine.to_device_bandwidth = rates.to_device_bandwidth;
  machine.from_device_bandwidth = rates.from_device_bandwidth;
  machine.instruction_overhead = rates.launch_seconds;
  machine.measured = true;
  return machine;
}

}  // namespace bessemer::cost
