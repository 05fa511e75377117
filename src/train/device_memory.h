// What a run takes of its CUDA device's memory, beside what was planned.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/cuda/device.h"

namespace bessemer::train {

class DeviceMemory {
 public:
  /// Before anything of the run is there. Null: the run is on the processor.
  explicit DeviceMemory(std::shared_ptr<const kernels::cuda::Device> device);

  /// "device memory: planned 1.25 GiB, taken 1.26 GiB (+0.8%)"; "" on the processor. Taken is what
  /// the driver has less to give than before: arena, code, graphs, workspaces of libraries, and
  /// what other processes took meanwhile.
  std::string text(std::size_t planned_bytes) const;

 private:
  std::shared_ptr<const kernels::cuda::Device> device_;
  std::size_t free_before_ = 0;
};

}  // namespace bessemer::train
