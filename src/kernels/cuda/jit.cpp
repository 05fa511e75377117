#include "kernels/cuda/jit.h"

#include <map>
#include <mutex>

#include "kernels/cuda/code_cache.h"
#include "kernels/cuda/jit_backend.h"

namespace bessemer::kernels::cuda {
namespace {

struct Compiled {
  std::mutex mutex;
  std::filesystem::path cache;
  std::map<std::string, std::unique_ptr<const CompiledKernel>> kernels;  // by what they are made of
};

// Never destroyed: kernels may be launched until the very end.
Compiled& compiled() {
  static auto* const all = new Compiled;
  return *all;
}

}  // namespace

const CompiledKernel& compile(const std::string& source, const std::string& name) {
  Compiled& all = compiled();
  const std::lock_guard lock(all.mutex);
  const std::string key = jit_backend::identity() + "\n" + name + "\n" + source;
  std::unique_ptr<const CompiledKernel>& kernel = all.kernels[key];
  if (!kernel) {
    const std::string code =
        CodeCache(all.cache).get(key, [&] { return jit_backend::compile(source, name); });
    kernel = jit_backend::load(code, name);
  }
  return *kernel;
}

void set_code_cache(std::filesystem::path directory) {
  Compiled& all = compiled();
  const std::lock_guard lock(all.mutex);
  all.cache = std::move(directory);
}

}  // namespace bessemer::kernels::cuda
