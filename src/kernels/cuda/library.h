// Shared libraries that are opened on first use, so that the program starts where they are not.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace bessemer::kernels::cuda {

/// Open for the life of the process: what these libraries start does not end with dlclose.
class Library {
 public:
  /// The first of `files` that the dynamic loader finds. `remedy`: what to do where it finds none.
  Library(std::string name, const std::vector<std::string>& files, std::string remedy);
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  bool is_open() const { return handle_ != nullptr; }
  const std::string& name() const { return name_; }
  const std::string& remedy() const { return remedy_; }
  /// What it is missing from and what to do: "missing: install ... (libnccl.so.2: cannot open
  /// ...)".
  std::string problem() const;

  /// One of its functions; InputError where the library or the function is not there.
  template <typename Function>
  Function* function(const char* symbol) const {
    return reinterpret_cast<Function*>(address_of(symbol));
  }

 private:
  void* address_of(const char* symbol) const;

  std::string name_, remedy_, reason_;
  void* handle_ = nullptr;
};

}  // namespace bessemer::kernels::cuda
