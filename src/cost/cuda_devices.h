// CUDA devices by name: what their data sheets say, for plans of machines that are not here and of
// devices that were not measured.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cost/machine.h"
#include "kernels/cuda/calibrate.h"

namespace bessemer::cost {

/// A device that is here, as its driver describes it.
struct CudaDevice {
  std::string name;            // "NVIDIA H100 80GB HBM3"
  int compute_capability = 0;  // ten times: 90 is 9.0
  std::size_t memory_bytes = 0;
  std::string driver = {};  // its version, "CUDA 13.0"
};

/// Of NVIDIA's data sheets: dense rates of the tensor cores with fp32 sums, and of fp32 outside
/// them (fp8 with 0: no such units); memory and its bandwidth; one way of the link to the host.
struct DataSheet {
  std::string_view name;     // as the user says it
  std::string_view product;  // part of the driver's name for it
  int compute_capability;
  double fp8_tflops, bf16_tflops, fp32_tflops;
  double memory_gb, memory_gb_per_second;
  double host_gb_per_second;
};

/// Of the device that the driver calls so; null where it is not known.
const DataSheet* data_sheet(std::string_view driver_name);

/// Names that `assumed_cuda_machine` knows: "a100-80gb", "h100", ...
std::vector<std::string_view> known_cuda_devices();

/// `host` with such a device instead of its own arithmetic. Rates are assumed: the share of the
/// data sheet's that such devices are known to reach. InputError, naming the known ones, for
/// another name.
MachineDescription assumed_cuda_machine(std::string_view name, MachineDescription host);

/// The same for a device that is here: rates of the known one that its name says, else of one of
/// its compute capability or the next lower one; memory as it is. Its name tells device and driver.
MachineDescription assumed_cuda_machine(const CudaDevice& device, MachineDescription host);

/// `machine` with what was measured of its device; its name stays.
MachineDescription with_rates(MachineDescription machine, const kernels::cuda::DeviceRates& rates);

}  // namespace bessemer::cost
