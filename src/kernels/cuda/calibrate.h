// What a device reaches, measured with the kernels and copies that a step is made of: what MFU and
// predicted times are held against. Takes a few seconds, and means something only where nobody else
// uses the device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device.h"

namespace bessemer::kernels::cuda {

/// Floating-point operations per second (a multiply-add counts two) of matrix products of a dtype.
struct ProductRates {
  double peak = 0;   // of large square ones, at their fastest
  double layer = 0;  // of a layer's, forward and both gradients
  double attention =
      0;  // of causal attention's, forward and backward, softmax included in the time
};

struct DeviceRates {
  ProductRates fp32, bf16;
  ProductRates fp8;           // scaled by tensors, as the device does it; not attention
  double tf32_layer = 0;      // of fp32 matrices by the tensor cores
  double softmax_rate = 0;    // logits per second of cross_entropy_rows_train
  double copy_bandwidth = 0;  // bytes read plus bytes written per second, within the device
  // The link to page-locked memory of the host, bytes per second.
  double to_device_bandwidth = 0, from_device_bandwidth = 0;  // one way alone
  double both_ways_bandwidth = 0;  // each way, while the other is used too
  double launch_seconds = 0;  // of an instruction that does next to nothing, in a captured graph
};

/// How large the problems are and how often they are run. What is here is for a device; smaller
/// ones show only that the measuring works.
struct CalibrationSizes {
  std::int64_t square_fp32 = 4096, square_bf16 = 8192;  // of the products that make the peak
  std::int64_t rows = 8192, hidden = 2048;              // of a layer; it is four times as wide
  std::int64_t batch = 8, tokens = 2048, heads = 16, head_size = 64;
  std::int64_t logit_rows = 4096, vocabulary = 32768;
  std::size_t copied_bytes = std::size_t{512} << 20;
  std::size_t link_bytes = std::size_t{128} << 20;
  int graph_instructions = 256;

  double round_seconds = 0.02;  // of repeated runs between two events
  int rounds = 5;
  int most_runs = 500;  // of a round
};

/// Uses about 1.5 GiB of the device and 256 MiB of the host meanwhile. InputError where the device
/// has not the memory.
DeviceRates measure_rates(Device& device, const CalibrationSizes& sizes = {});

}  // namespace bessemer::kernels::cuda
