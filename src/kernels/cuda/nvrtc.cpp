#include "kernels/cuda/nvrtc.h"

#include <algorithm>
#include <array>

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"

namespace bessemer::kernels::cuda {
namespace {

// By their names in the loader's path, then where the toolkit is installed by default. What is used
// of NVRTC has been the same from 11.1 on.
constexpr std::array kNames{"libnvrtc.so.13", "libnvrtc.so.12",
                            "/usr/local/cuda/lib64/libnvrtc.so"};

constexpr const char* kPrelude = R"(
__device__ inline unsigned pack_bf16(float low, float high) {
  unsigned both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}
__device__ inline float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ inline float reciprocal_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
)";

constexpr std::array kOptions{"--std=c++17", "--fmad=false"};

using Program = void*;
using Code = int;  // 0 is success

/// nvrtc.h's functions, as far as they are called.
struct Nvrtc {
  std::string problem;  // empty: all below is there
  const char* (*error_string)(Code) = nullptr;
  Code (*version)(int* major, int* minor) = nullptr;
  Code (*create)(Program*, const char* source, const char* name, int headers,
                 const char* const* header_sources, const char* const* header_names) = nullptr;
  Code (*compile)(Program, int options, const char* const*) = nullptr;
  Code (*code_size)(Program, std::size_t*) = nullptr;
  Code (*code)(Program, char*) = nullptr;
  Code (*log_size)(Program, std::size_t*) = nullptr;
  Code (*log)(Program, char*) = nullptr;
  Code (*destroy)(Program*) = nullptr;
};

template <typename Function>
void find(void* library, const char* name, Function*& function, std::string& problem) {
  function = reinterpret_cast<Function*>(::dlsym(library, name));
  if (function == nullptr) problem = fmt::format("NVRTC has no {}: it is too old", name);
}

Nvrtc open() {
  Nvrtc nvrtc;
  void* library = nullptr;
  for (const char* name : kNames) {
    if (library == nullptr) library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
  }
  if (library == nullptr) {
    nvrtc.problem = fmt::format(
        "NVRTC, which compiles fused kernels for the GPU, is not here: tried {}; install the CUDA "
        "toolkit (or its packages cuda-nvrtc-13-0 or cuda-nvrtc-12-x), or name its folder in "
        "LD_LIBRARY_PATH",
        fmt::join(kNames, ", "));
    return nvrtc;
  }
  find(library, "nvrtcGetErrorString", nvrtc.error_string, nvrtc.problem);
  find(library, "nvrtcVersion", nvrtc.version, nvrtc.problem);
  find(library, "nvrtcCreateProgram", nvrtc.create, nvrtc.problem);
  find(library, "nvrtcCompileProgram", nvrtc.compile, nvrtc.problem);
  find(library, "nvrtcGetCUBINSize", nvrtc.code_size, nvrtc.problem);
  find(library, "nvrtcGetCUBIN", nvrtc.code, nvrtc.problem);
  find(library, "nvrtcGetProgramLogSize", nvrtc.log_size, nvrtc.problem);
  find(library, "nvrtcGetProgramLog", nvrtc.log, nvrtc.problem);
  find(library, "nvrtcDestroyProgram", nvrtc.destroy, nvrtc.problem);
  return nvrtc;
}

const Nvrtc& opened() {
  static const Nvrtc nvrtc = open();
  return nvrtc;
}

const Nvrtc& required() {
  require_input(opened().problem.empty(), "{}", opened().problem);
  return opened();
}

/// One compilation; gone with it.
class Compilation {
 public:
  Compilation(const Nvrtc& nvrtc, const std::string& source) : nvrtc_(nvrtc) {
    check(nvrtc.create(&program_, source.c_str(), "bessemer.cu", 0, nullptr, nullptr), "program");
  }
  Compilation(const Compilation&) = delete;
  Compilation& operator=(const Compilation&) = delete;
  ~Compilation() { nvrtc_.destroy(&program_); }

  /// Success, or why not.
  Code compile(const std::string& architecture) {
    const std::string for_device = "--gpu-architecture=" + architecture;
    std::array<const char*, kOptions.size() + 1> options{for_device.c_str()};
    std::copy(kOptions.begin(), kOptions.end(), options.begin() + 1);
    return nvrtc_.compile(program_, static_cast<int>(options.size()), options.data());
  }

  std::string code() const { return text(nvrtc_.code_size, nvrtc_.code, "code"); }
  std::string log() const { return text(nvrtc_.log_size, nvrtc_.log, "log"); }

 private:
  template <typename Size, typename Get>
  std::string text(Size size_of_it, Get get, const char* what) const {
    std::size_t size = 0;
    check(size_of_it(program_, &size), what);
    std::string bytes(size, '\0');
    check(get(program_, bytes.data()), what);
    return bytes;
  }
  void check(Code code, const char* what) const {
    require(code == 0, "NVRTC's {}: {}", what, nvrtc_.error_string(code));
  }

  const Nvrtc& nvrtc_;
  Program program_ = nullptr;
};

}  // namespace

std::optional<std::string> nvrtc_problem() {
  if (opened().problem.empty()) return std::nullopt;
  return opened().problem;
}

std::string nvrtc_version() {
  int major = 0, minor = 0;
  required().version(&major, &minor);
  return fmt::format("{}.{}", major, minor);
}

std::string nvrtc_prelude() { return kPrelude; }

std::string nvrtc_compile(const std::string& source, const std::string& architecture) {
  const Nvrtc& nvrtc = required();
  const std::string whole = kPrelude + source;
  Compilation compilation(nvrtc, whole);
  if (const Code code = compilation.compile(architecture); code != 0) {
    fail("NVRTC {} does not compile for {}: {}\n{}\nof\n{}", nvrtc_version(), architecture,
         nvrtc.error_string(code), compilation.log(), whole);
  }
  return compilation.code();
}

}  // namespace bessemer::kernels::cuda
