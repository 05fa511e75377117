// The machine that a run is planned for and runs on: what is known of its rates, and its CUDA
// device.
#pragma once

#include <filesystem>
#include <memory>

#include "config/run_config.h"
#include "cost/machine.h"
#include "kernels/cuda/device.h"

namespace bessemer::train {

/// What `device` is here: the cpu, or a CUDA device by its number. InputError, saying what is
/// missing, where it asks for a CUDA device that is not there.
config::Device resolve(const config::Device& device);

/// This machine with its measured rates where they are in the cache, else with assumed ones; of a
/// CUDA device they are assumed. Devices as `resolve` has them.
cost::MachineDescription known_machine(const config::Device& device = {});

/// The same, measured now, and cached, where it is not there yet (a second or two, logged).
cost::MachineDescription measured_machine(const config::Device& device = {});

/// The CUDA device that `device` is; null where it is the cpu. Code compiled for it, and the
/// algorithms of products that were found fastest, are kept in the cache from then on.
std::shared_ptr<kernels::cuda::Device> open_device(const config::Device& device);

/// Measures the processor anew and writes the cache.
cost::MachineDescription calibrate();
/// Writes the cache; a warning where that cannot be.
void keep_calibration(const cost::MachineDescription& machine);
/// Of this processor with as many threads as are set now.
std::filesystem::path calibration_path();

}  // namespace bessemer::train
