#include "kernels/cuda/library.h"

#include <dlfcn.h>

namespace bessemer::kernels::cuda {

Library::Library(std::string name, const std::vector<std::string>& files, std::string remedy)
    : name_(std::move(name)), remedy_(std::move(remedy)) {
  for (const std::string& file : files) {
    handle_ = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return;
    const char* said = ::dlerror();
    if (reason_.empty()) reason_ = said != nullptr ? said : file;
  }
}

std::string Library::problem() const {
  return is_open() ? "" : fmt::format("no {} ({}): {}", name_, reason_, remedy_);
}

void* Library::address_of(const char* symbol) const {
  require_input(is_open(), "{}", problem());
  void* address = ::dlsym(handle_, symbol);
  require_input(address != nullptr, "{} is too old, it has no {}: {}", name_, symbol, remedy_);
  return address;
}

}  // namespace bessemer::kernels::cuda
