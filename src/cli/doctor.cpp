#include <algorithm>
#include <fstream>
#include <memory>
#include <thread>

#include <unistd.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <dnnl.hpp>
#include <fmt/format.h>
#include <hwy/highway.h>
#include <nlohmann/json.hpp>
#include <pcre2.h>
#include <spdlog/version.h>
#include <toml++/toml.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include "base/error.h"
#include "base/parallel.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/rates.h"
#include "kernels/cuda/device.h"
#include "kernels/kernel.h"
#include "plan/report.h"
#include "train/machine.h"
#include "train/compile.h"

namespace bessemer::cli {
namespace {

namespace fs = std::filesystem;

/// What was found wrong, and what to do about it.
using Advice = std::vector<std::string>;

void line(std::string_view name, std::string_view text) {
  print(fmt::format("{:<13} {}\n", name, text));
}

std::string yes_no(bool value) { return value ? "yes" : "no"; }

void show_processor(const cost::MachineDescription& machine, Advice& advice) {
  const kernels::Machine& cpu = machine.cpu;
  line("processor", machine.name);
  line("instructions", fmt::format("AVX2 {}, AVX-512 {}, AVX-512 BF16 {}", yes_no(cpu.avx2),
                                   yes_no(cpu.avx512), yes_no(cpu.avx512_bf16)));
  const unsigned cores = std::thread::hardware_concurrency();
  line("threads", fmt::format("{} of {} logical cores", cpu.threads, cores));
  line("L2 cache", plan::bytes_text(cpu.l2_bytes));
  if (!cpu.avx2) {
    advice.push_back(
        "this processor has no AVX2: the vector kernels fall back to narrow ones, "
        "training will be slow");
  }
  if (!cpu.avx512_bf16) {
    advice.push_back(
        "no bf16 instructions: precision.recipe = \"bf16\" works, and may be no "
        "faster than \"fp32\" here");
  }
  if (cores > 0 && cpu.threads > static_cast<int>(cores)) {
    advice.push_back(fmt::format("{} threads on {} cores get in each other's way; use --threads {}",
                                 cpu.threads, cores, cores));
  }
}

std::size_t pages_in_bytes(int name) {
  const long pages = ::sysconf(name);
  const long size = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? static_cast<std::size_t>(pages) * static_cast<std::size_t>(size)
                               : 0;
}

void show_memory(Advice& advice) {
  const std::size_t all = pages_in_bytes(_SC_PHYS_PAGES);
  const std::size_t free = pages_in_bytes(_SC_AVPHYS_PAGES);
  line("memory", fmt::format("{}, {} of it unused", plan::bytes_text(all), plan::bytes_text(free)));
  if (all > 0 && all < (std::size_t{2} << 30)) {
    advice.push_back("less than 2 GiB of memory: look at `bessemer plan RUN.toml` before a run");
  }
}

// Opened, which is more than seen: another process may have a device for itself.
std::string describe_device(int index) {
  const kernels::cuda::DeviceProperties device = kernels::cuda::open_device(index)->properties();
  return fmt::format("{}, compute capability {}.{}, {} multiprocessors, {}, {} of it unused",
                     device.name, device.compute_capability / 10, device.compute_capability % 10,
                     device.multiprocessors, plan::bytes_text(device.memory_bytes),
                     plan::bytes_text(device.free_bytes));
}

void show_gpus(Advice& advice) {
  const kernels::cuda::Survey survey = kernels::cuda::survey();
  if (survey.devices.empty()) line("GPU", "none: " + survey.problem);
  for (int i = 0; i < static_cast<int>(survey.devices.size()); ++i) {
    const std::string name = fmt::format("GPU cuda:{}", i);
    try {
      line(name, describe_device(i));
    } catch (const Error& error) {
      line(name, survey.devices[static_cast<std::size_t>(i)].name + ", which cannot be used");
      advice.push_back(fmt::format("cuda:{}: {}", i, error.what()));
    }
  }
  if (!survey.driver.empty()) line("GPU driver", survey.driver);
  if (!survey.libraries.empty()) print("GPU libraries\n");
  for (const std::string& library : survey.libraries) {
    const std::size_t name_end = library.find(' ');
    print(fmt::format("  {:<15}{}\n", library.substr(0, name_end), library.substr(name_end)));
  }
}

std::string onednn_version() {
  const dnnl_version_t* v = dnnl_version();
  return fmt::format("{}.{}.{}", v->major, v->minor, v->patch);
}

std::string pcre2_text(std::uint32_t what) {
  char text[128] = "unknown";
  if (pcre2_config(what, nullptr) <= static_cast<int>(sizeof text)) pcre2_config(what, text);
  return text;
}

void show_libraries(Advice& advice) {
  std::uint32_t jit = 0;
  pcre2_config(PCRE2_CONFIG_JIT, &jit);
  print("libraries\n");
  const std::pair<const char*, std::string> versions[] = {
      {"oneDNN", onednn_version()},
      {"Highway", fmt::format("{}.{}.{}", HWY_MAJOR, HWY_MINOR, HWY_PATCH)},
      {"OpenMP", fmt::format("{}", _OPENMP)},
      {"PCRE2", fmt::format("{}, JIT {}", pcre2_text(PCRE2_CONFIG_VERSION), yes_no(jit != 0))},
      {"zlib", zlibVersion()},
      {"zstd", ZSTD_versionString()},
      {"xxHash", fmt::format("{}.{}.{}", XXH_versionNumber() / 10000,
                             XXH_versionNumber() / 100 % 100, XXH_versionNumber() % 100)},
      {"CLI11", CLI11_VERSION},
      {"toml++", fmt::format("{}.{}.{}", TOML_LIB_MAJOR, TOML_LIB_MINOR, TOML_LIB_PATCH)},
      {"nlohmann-json", fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR,
                                    NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH)},
      {"fmt",
       fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100)},
      {"spdlog", fmt::format("{}.{}.{}", SPDLOG_VER_MAJOR, SPDLOG_VER_MINOR, SPDLOG_VER_PATCH)},
  };
  for (const auto& [name, version] : versions) print(fmt::format("  {:<15} {}\n", name, version));
  if (jit == 0) {
    advice.push_back(
        "PCRE2 was built without its JIT: tokenizing will be slow; install the "
        "distribution's libpcre2-8-0");
  }
}

// The nearest directory of the path that is there.
fs::path nearest_existing(fs::path path) {
  std::error_code ignored;
  while (!path.empty() && !fs::exists(path, ignored)) path = path.parent_path();
  return path.empty() ? fs::path(".") : path;
}

void show_processor_rates(bool calibrate, Advice& advice) {
  const fs::path path = train::calibration_path();
  line("cache", path.string());
  if (::access(nearest_existing(path.parent_path()).c_str(), W_OK) != 0) {
    advice.push_back(
        fmt::format("{} cannot be written, so this machine is measured at every start; "
                    "set XDG_CACHE_HOME to a directory that can",
                    path.parent_path().string()));
  }
  const cost::MachineDescription machine =
      calibrate ? train::calibrate() : train::with_kept_rates(cost::describe_here());
  if (machine.measured) {
    line("calibration", calibrate ? "measured now" : "from the cache");
    return print(processor_rates(machine));
  }
  line("calibration", "none for this processor and thread count");
  advice.push_back(
      "rates are not measured yet: run `bessemer doctor --calibrate` while the "
      "machine is idle (`bessemer train` does so too, at its first start)");
}

void show_device_rates(int index, bool calibrate, Advice& advice) {
  const config::Device device{config::Device::Kind::cuda, index};
  const cost::MachineDescription machine =
      calibrate ? train::calibrate(device) : train::known_machine(device);
  const std::string name = fmt::format("GPU cuda:{}", index);
  if (!machine.measured) {
    line(name, "rates are assumed");
    return advice.push_back(fmt::format(
        "cuda:{} is not measured yet: run `bessemer doctor --calibrate` while nobody uses it "
        "(`bessemer train` does so too, at its first start there)",
        index));
  }
  line(name, fmt::format("{} ({})", machine.name, calibrate ? "measured now" : "from the cache"));
  print(device_rates(machine, cost::data_sheet(machine.name)));
}

// Of the processor and of each CUDA device. One that has none does not keep the others from
// theirs; false where there was one.
bool show_calibration(bool calibrate, Advice& advice) {
  bool good = true;
  const auto show = [&](std::string_view what, const auto& show_rates) {
    try {
      show_rates();
    } catch (const Error& error) {
      line(what, "no rates");
      advice.push_back(error.what());
      good = false;
    }
    flush();  // measuring takes seconds
  };
  show("calibration", [&] { show_processor_rates(calibrate, advice); });
  const auto devices = static_cast<int>(kernels::cuda::find_devices().devices.size());
  for (int i = 0; i < devices; ++i) {
    show(fmt::format("GPU cuda:{}", i), [&] { show_device_rates(i, calibrate, advice); });
  }
  return good;
}

int doctor(bool calibrate) {
  Advice advice;
  line("bessemer", kVersion);
  show_processor(cost::describe_here(), advice);
  show_memory(advice);
  show_gpus(advice);
  show_libraries(advice);
  flush();
  const bool shown = show_calibration(calibrate, advice);
  if (advice.empty()) {
    print("\nnothing to complain of\n");
    return kDone;
  }
  print("\nto look at\n");
  for (const std::string& text : advice) print(fmt::format("  - {}\n", text));
  return calibrate && !shown ? kFailed : kDone;  // it was asked to measure
}

}  // namespace

void add_doctor(CLI::App& app, Session& session) {
  auto calibrate = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand(
      "doctor", "Shows what this machine has, and what is wrong with it and what to do");
  command->add_flag("--calibrate", *calibrate,
                    "Measures matrix products and copies anew, of the processor and of CUDA "
                    "devices, for predictions and MFU");
  command->callback(
      [calibrate, &session] { session.action = [calibrate] { return doctor(*calibrate); }; });
}

}  // namespace bessemer::cli
