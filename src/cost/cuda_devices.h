// CUDA devices by name: what their data sheets say, for plans of machines that are not here and of
// devices that were not measured.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "cost/machine.h"

namespace bessemer::cost {

/// A device that is here, as its driver describes it.
struct CudaDevice {
  std::string name;            // "NVIDIA H100 80GB HBM3"
  int compute_capability = 0;  // ten times: 90 is 9.0
  std::size_t memory_bytes = 0;
};

/// Names that `assumed_cuda_machine` knows: "a100-80gb", "h100", ...
std::vector<std::string_view> known_cuda_devices();

/// `host` with such a device instead of its own arithmetic. Rates are assumed: the share of the
/// data sheet's that such devices are known to reach. InputError, naming the known ones, for
/// another name.
MachineDescription assumed_cuda_machine(std::string_view name, MachineDescription host);

/// The same for a device that is here: rates of the known one that its name says, else of one of
/// its compute capability or the next lower one; memory as it is.
MachineDescription assumed_cuda_machine(const CudaDevice& device, MachineDescription host);

}  // namespace bessemer::cost
