#include "cli/rates.h"

#include <fmt/format.h>

namespace bessemer::cli {
namespace {

/// `value` and what the data sheet has in its place; 0: nothing.
std::string line(std::string_view name, double value, std::string_view unit, double of_sheet = 0) {
  std::string text = fmt::format("  {:<20} {:8.1f} {}", name, value, unit);
  if (of_sheet > 0) text += fmt::format(", {:.0f}% of {:.1f}", 100 * value / of_sheet, of_sheet);
  return text + "\n";
}

}  // namespace

std::string processor_rates(const cost::MachineDescription& machine) {
  std::string text = line("matmul fp32", machine.matmul_flops_fp32 / 1e9, "GFLOP/s") +
                     line("matmul bf16", machine.matmul_flops_bf16 / 1e9, "GFLOP/s") +
                     line("copy", machine.copy_bandwidth / 1e9, "GB/s") +
                     line("device-host", machine.host_bandwidth / 1e9, "GB/s");
  for (const auto& [directory, rates] : machine.directories) {
    text += fmt::format("  {:<20} {:8.1f} GB/s read, {:.1f} GB/s written\n", directory,
                        rates.read / 1e9, rates.write / 1e9);
  }
  return text;
}

std::string device_rates(const cost::MachineDescription& machine, const cost::DataSheet* sheet) {
  const cost::DataSheet known = sheet != nullptr ? *sheet : cost::DataSheet{};
  const auto products = [](std::string_view dtype, double peak, double layer, double attention,
                           double of_sheet) {
    const auto row = [&](std::string_view what, double flops) {
      return line(fmt::format("{} {}", what, dtype), flops / 1e12, "TFLOP/s", of_sheet);
    };
    return row("matmul", peak) + row("layer", layer) + row("attention", attention);
  };
  return products("fp32", machine.matmul_flops_fp32, machine.layer_flops_fp32,
                  machine.attention_flops_fp32, known.fp32_tflops) +
         products("bf16", machine.matmul_flops_bf16, machine.layer_flops_bf16,
                  machine.attention_flops_bf16, known.bf16_tflops) +
         line("layer tf32", machine.layer_flops_tf32 / 1e12, "TFLOP/s", known.bf16_tflops / 2) +
         line("matmul fp8", machine.matmul_flops_fp8 / 1e12, "TFLOP/s", known.fp8_tflops) +
         line("layer fp8", machine.layer_flops_fp8 / 1e12, "TFLOP/s", known.fp8_tflops) +
         line("element-wise", machine.vector_flops / 1e12, "TFLOP/s") +
         line("copy", machine.copy_bandwidth / 1e9, "GB/s", known.memory_gb_per_second) +
         line("host to device", machine.to_device_bandwidth / 1e9, "GB/s",
              known.host_gb_per_second) +
         line("device to host", machine.from_device_bandwidth / 1e9, "GB/s",
              known.host_gb_per_second) +
         line("both ways, each", machine.host_bandwidth / 1e9, "GB/s", known.host_gb_per_second) +
         line("instruction", machine.instruction_overhead * 1e6, "us, in a captured graph");
}

}  // namespace bessemer::cli
