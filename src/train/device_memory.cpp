#include "train/device_memory.h"

#include <utility>

#include <fmt/format.h>

namespace bessemer::train {

DeviceMemory::DeviceMemory(std::shared_ptr<const kernels::cuda::Device> device)
    : device_(std::move(device)) {
  if (device_) free_before_ = device_->properties().free_bytes;
}

std::string DeviceMemory::text(std::size_t planned_bytes) const {
  if (!device_) return "";
  constexpr double kGiB = 1 << 30;
  const double planned = static_cast<double>(planned_bytes);
  const double taken =
      static_cast<double>(free_before_) - static_cast<double>(device_->properties().free_bytes);
  return fmt::format("device memory: planned {:.3f} GiB, taken {:.3f} GiB ({:+.1f}%)",
                     planned / kGiB, taken / kGiB, 100 * (taken / planned - 1));
}

}  // namespace bessemer::train
