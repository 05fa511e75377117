// Which devices there are, asked without making a context on any of them.
#pragma once

#include <string>

#include "kernels/cuda/device.h"

namespace bessemer::kernels::cuda {

struct DeviceCount {
  int count = 0;
  std::string problem;  // where it is 0: why, and what to do
};
DeviceCount count_devices();

/// All but free_bytes, which only an open device knows.
DeviceProperties properties_of(int index);

}  // namespace bessemer::kernels::cuda
