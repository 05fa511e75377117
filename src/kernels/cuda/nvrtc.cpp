#include "kernels/cuda/nvrtc.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/error.h"

namespace bessemer::kernels::cuda {
namespace {

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
  const Library& library = nvrtc();

  template <typename Function>
  Function* at(const char* symbol) const {
    return library.function<Function>(symbol);
  }

  using Get = Code(Program, char*);
  using Size = Code(Program, std::size_t*);
  const char* (*error_string)(Code) = at<const char*(Code)>("nvrtcGetErrorString");
  Code (*version)(int*, int*) = at<Code(int*, int*)>("nvrtcVersion");
  // Source, name, and no headers.
  using Create = Code(Program*, const char*, const char*, int, const char* const*,
                      const char* const*);
  Create* create = at<Create>("nvrtcCreateProgram");
  using Compile = Code(Program, int, const char* const*);
  Compile* compile = at<Compile>("nvrtcCompileProgram");
  Size* code_size = at<Size>("nvrtcGetCUBINSize");
  Get* code = at<Get>("nvrtcGetCUBIN");
  Size* log_size = at<Size>("nvrtcGetProgramLogSize");
  Get* log = at<Get>("nvrtcGetProgramLog");
  Code (*destroy)(Program*) = at<Code(Program*)>("nvrtcDestroyProgram");
};

// InputError where it is not there, or too old.
const Nvrtc& required() {
  static const Nvrtc nvrtc;
  return nvrtc;
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

const Library& nvrtc() {
  static const Library library(
      "NVRTC", {"libnvrtc.so.13", "libnvrtc.so.12", "/usr/local/cuda/lib64/libnvrtc.so"},
      "it compiles fused kernels for the GPU; install it with the CUDA toolkit, or put the folder "
      "that holds it into LD_LIBRARY_PATH");
  return library;
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
