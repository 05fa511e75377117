// The machine that a run is planned for and runs on: what is known of its rates, and its CUDA
// device.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "config/run_config.h"
#include "cost/machine.h"
#include "kernels/cuda/calibrate.h"
#include "kernels/cuda/device.h"

namespace bessemer::train {

/// What `device` is here: the cpu, or a CUDA device by its number. InputError, saying what is
/// missing, where it asks for a CUDA device that is not there; `asked` is who does, as the message
/// begins.
config::Device resolve(const config::Device& device, std::string_view asked = "run.device =");

/// This machine, or its CUDA device, with measured rates where they are in the cache, else with
/// assumed ones. Devices as `resolve` has them.
cost::MachineDescription known_machine(const config::Device& device = {});

/// The same, measured now, and cached, where it is not there yet (a few seconds, logged). A CUDA
/// device that cannot be measured keeps its assumed rates, with a warning.
cost::MachineDescription measured_machine(const config::Device& device = {});

/// The CUDA device that `device` is; null where it is the cpu. Code compiled for it, and the
/// algorithms of products that were found fastest, are kept in the cache from then on.
std::shared_ptr<kernels::cuda::Device> open_device(const config::Device& device);

/// Measures the processor, or the CUDA device, anew and writes the cache.
cost::MachineDescription calibrate(const config::Device& device = {});
/// The same of a device that is open and described by `of`.
cost::MachineDescription calibrate(kernels::cuda::Device& device, cost::MachineDescription of,
                                   const kernels::cuda::CalibrationSizes& sizes = {});

/// Writes the cache; a warning where that cannot be.
void keep_calibration(const cost::MachineDescription& machine);
/// Where the rates of a processor, with so many threads, or of a CUDA device are kept.
std::filesystem::path calibration_path(const cost::MachineDescription& machine);
/// Of this processor with as many threads as are set now.
std::filesystem::path calibration_path();
/// `machine` with the rates that are kept of it, where there are.
cost::MachineDescription with_kept_rates(cost::MachineDescription machine);

}  // namespace bessemer::train
