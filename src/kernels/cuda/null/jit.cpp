// Source of kernels as plain C++: a shared object, made by the compiler that made this program.
#include <array>
#include <cstdio>
#include <vector>

#include <dlfcn.h>
#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_directory.h"
#include "kernels/cuda/jit_backend.h"
#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda::jit_backend {
namespace {

// Without headers, which would take most of the time of a compilation. The indices are not of a
// thread of this process, as in null/simt.h: LeakSanitizer dies of thread_local in a library that
// was opened while others run. So one thread at a time may run such kernels.
constexpr const char* kPrelude = R"(
#define __global__
#define __device__
#define __launch_bounds__(...)

struct Index3 {
  unsigned x, y, z;
};
static Index3 threadIdx, blockIdx, blockDim, gridDim;

extern "C" {
float fabsf(float);
float fmaf(float, float, float);
float fminf(float, float);
float fmaxf(float, float);
float erff(float);
float exp2f(float);
}
inline float exp2_approx(float x) { return exp2f(x); }
inline float reciprocal_approx(float x) { return 1 / x; }

inline float __uint_as_float(unsigned bits) { return __builtin_bit_cast(float, bits); }
inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
inline unsigned bf16_bits(float x) {
  const unsigned bits = __float_as_uint(x);
  if (x != x) return 0x7fff;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
inline unsigned pack_bf16(float low, float high) { return bf16_bits(high) << 16 | bf16_bits(low); }
)";

// Calls kernel {0} for the thread at `place`, arguments by their words.
constexpr const char* kPostlude = R"(
template <typename... Parameters>
struct Call {{
  Call(void (*kernel)(Parameters...), Parameters... arguments) {{ kernel(arguments...); }}
}};
template <typename... Parameters>
void call(void (*kernel)(Parameters...), const unsigned long* words) {{
  Call<Parameters...>{{kernel, *(const Parameters*)words++...}};  // in braces: from left to right
}}
extern "C" void bessemer_thread(const Index3* place, const unsigned long* arguments) {{
  threadIdx = place[0], blockIdx = place[1], blockDim = place[2], gridDim = place[3];
  call({0}, arguments);
}}
)";

#if defined(__SANITIZE_ADDRESS__)
constexpr const char* kSanitize = " -fsanitize=address,undefined -fno-sanitize-recover=all";
#else
constexpr const char* kSanitize = "";
#endif

std::string command() {
  return fmt::format("'{}' -std=c++20 -O1 -ffp-contract=off -fno-strict-aliasing -shared -fPIC{}",
                     BESSEMER_HOST_COMPILER, kSanitize);
}

/// What a command writes to either output; Error where it fails.
void run(const std::string& line, const std::string& source) {
  std::FILE* output = ::popen((line + " 2>&1").c_str(), "r");
  require(output != nullptr, "cannot run {}", line);
  std::string text;
  std::array<char, 4096> some;
  while (const std::size_t count = std::fread(some.data(), 1, some.size(), output)) {
    text.append(some.data(), count);
  }
  require(::pclose(output) == 0, "{}:\n{}\nof\n{}", line, text, source);
}

class NullKernel final : public CompiledKernel {
 public:
  explicit NullKernel(const std::string& code) {
    const TemporaryDirectory directory;
    const std::string path = directory.path() / "kernel.so";
    write_file_atomically(path, code, Flush::later);
    void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    require(library != nullptr, "loading compiled code: {}", ::dlerror());
    thread_ = reinterpret_cast<Thread*>(::dlsym(library, "bessemer_thread"));
    require(thread_ != nullptr, "compiled code without its kernel");
  }

  void launch(std::int64_t blocks, int threads, Stream stream,
              std::span<const std::uint64_t> arguments) const override {
    const std::vector<std::uint64_t> words(arguments.begin(), arguments.end());
    null::queue(stream, [this, words, grid = Grid{blocks, 1, 1, threads}] {
      null::run_grid(grid, [&] {
        const std::array<Index3, 4> place{threadIdx, blockIdx, blockDim, gridDim};
        thread_(place.data(), words.data());
      });
    });
  }

 private:
  using Thread = void(const void* place, const std::uint64_t* arguments);
  Thread* thread_ = nullptr;
};

}  // namespace

std::string identity() {
  return fmt::format("{} {}\n{}{}", command(), __VERSION__, kPrelude, kPostlude);
}

std::string compile(const std::string& source, const std::string& name) {
  const TemporaryDirectory directory;
  const std::string from = directory.path() / "kernel.cpp", to = directory.path() / "kernel.so";
  const std::string whole = kPrelude + source + fmt::format(kPostlude, name);
  write_file_atomically(from, whole, Flush::later);
  run(fmt::format("{} '{}' -o '{}'", command(), from, to), whole);
  return read_file(to);
}

std::unique_ptr<const CompiledKernel> load(const std::string& code, const std::string&) {
  return std::make_unique<NullKernel>(code);
}

}  // namespace bessemer::kernels::cuda::jit_backend
