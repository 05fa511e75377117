// What the planner knows of a machine: measured rates, from a cache that `bessemer doctor
// --calibrate` writes, or assumed ones. Rates are of what does the device's arithmetic
// (cpu.device).
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "base/dtype.h"
#include "ir/tier.h"
#include "kernels/kernel.h"
#include "ops/op.h"

namespace bessemer::cost {

/// Bytes per second of a directory's disk.
struct FileRates {
  double read = 0;
  double write = 0;
};

struct MachineDescription {
  std::string name = "uncalibrated";
  kernels::Machine cpu;
  double matmul_flops_fp32 = 100e9;  // flop/s, all threads
  double matmul_flops_bf16 = 100e9;
  double layer_flops_fp32 =
      90e9;  // of the products of a layer, forward and backward: below the peak
  double layer_flops_bf16 = 90e9;
  // With units for 8-bit floating point; 0: there are none, or they were not measured, and products
  // of it run at the rate of bf16.
  double matmul_flops_fp8 = 0;
  double layer_flops_fp8 = 0;
  double layer_flops_tf32 = 0;  // likewise, of fp32 matrices; 0: at the rate of fp32
  // Of attention's products, forward and backward together, softmax included in the time.
  double attention_flops_fp32 = 60e9;
  double attention_flops_bf16 = 60e9;
  double vector_flops = 12.5e9;        // of element-wise arithmetic, as ops::Work counts it
  double copy_bandwidth = 10e9;        // bytes read plus bytes written, per second
  double instruction_overhead = 3e-6;  // seconds
  // Links between tiers, bytes moved per second by one thread beside the arithmetic.
  double host_bandwidth = 4e9;  // either way, while the other is used too
  double to_device_bandwidth = 4e9, from_device_bandwidth = 4e9;  // one way alone, to be shown
  double file_read_bandwidth = 1e9;
  double file_write_bandwidth = 0.7e9;
  std::map<std::string, FileRates> directories;  // those that were measured
  std::size_t device_memory = 0;  // bytes, of a device with memory of its own; 0: the host's
  bool measured = false;

  double matmul_flops(DType dtype) const {
    if (is_fp8(dtype)) return matmul_flops_fp8 > 0 ? matmul_flops_fp8 : matmul_flops_bf16;
    return dtype == DType::bf16 ? matmul_flops_bf16 : matmul_flops_fp32;
  }
  double layer_flops(DType dtype) const {
    if (is_fp8(dtype)) return layer_flops_fp8 > 0 ? layer_flops_fp8 : layer_flops_bf16;
    return dtype == DType::bf16 ? layer_flops_bf16 : layer_flops_fp32;
  }
  double attention_flops(DType dtype) const {
    return dtype == DType::bf16 ? attention_flops_bf16 : attention_flops_fp32;
  }
};

/// Element-wise arithmetic of a processor whose fp32 products have this rate: ops::Work counts what
/// its vector units do between products in such flops.
double processor_vector_flops(double matmul_flops_fp32);

/// Seconds one run of this work is expected to take: the larger of the time its arithmetic and its
/// memory traffic need (Williams et al., "Roofline", 2009), plus the launch.
double predicted_seconds(const ops::Work& work, DType compute, const MachineDescription& machine);

/// The same for one use of an op: it computes in fp8 where an operand is, else in bf16 where one
/// is.
double predicted_seconds(const ops::OpUse& use, const ops::Work& work,
                         const MachineDescription& machine);

enum class Direction { to_device, from_device };

/// Seconds of moving so many bytes between the device and a lower tier.
double transfer_seconds(double bytes, ir::Tier tier, Direction direction,
                        const MachineDescription& machine);

/// Reads a description written by `save`; nothing where the file is missing or was made for another
/// machine than `here`, which its name tells; InputError where it is broken. What is not measured
/// is as it is in `here`.
std::optional<MachineDescription> load(const std::filesystem::path& path,
                                       const MachineDescription& here);
void save(const MachineDescription& machine, const std::filesystem::path& path);

/// This machine, uncalibrated: name of the processor, instruction sets, threads.
MachineDescription describe_here();

}  // namespace bessemer::cost
