// What `doctor` shows of measured rates.
#pragma once

#include <string>

#include "cost/cuda_devices.h"
#include "cost/machine.h"

namespace bessemer::cli {

/// A line for each rate of a processor.
std::string processor_rates(const cost::MachineDescription& machine);

/// A line for each rate of a CUDA device, and what share of its data sheet's that is, where `sheet`
/// is not null and has it.
std::string device_rates(const cost::MachineDescription& machine, const cost::DataSheet* sheet);

}  // namespace bessemer::cli
