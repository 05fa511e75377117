// Bytes to put in a directory for one test.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/temporary_directory.h"
#include "checkpoint/tensor_source.h"

namespace bessemer::checkpoint::testing {

inline void write_bytes(const std::filesystem::path& path, std::string_view text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  require(out.good(), "test file {}", path.string());
}

/// Names of everything in a directory, hidden things too, sorted.
inline std::vector<std::string> listing(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  std::error_code code;
  for (const auto& item : std::filesystem::directory_iterator(directory, code)) {
    names.push_back(item.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Runs `action` and expects an InputError whose message holds every one of `parts`.
template <typename Action>
void expect_input_error(const Action& action, const std::vector<std::string>& parts) {
  try {
    action();
  } catch (const InputError& error) {
    const std::string message = error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(message.find(part), message.npos) << "message: " << message << "\nlacks: " << part;
    }
    return;
  }
  ADD_FAILURE() << "no InputError; expected one with: " << (parts.empty() ? "" : parts.front());
}

/// Tensors that own their bytes.
class Tensors {
 public:
  void add(const std::string& name, const TensorType& type, std::uint64_t seed) {
    std::vector<std::byte> bytes(type.bytes());
    const CounterRng rng(seed, 0, 0);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(rng.word(i));
    storage_.push_back(std::move(bytes));
    named_.push_back({name, {type, storage_.back()}});
  }
  const std::vector<NamedTensor>& named() const { return named_; }
  std::vector<TensorSpec> specs() const {
    std::vector<TensorSpec> specs;
    for (const NamedTensor& tensor : named_) specs.push_back({tensor.name, tensor.view.type});
    return specs;
  }
  BytesOf bytes_of() const {
    return [this](std::size_t i) { return std::span<const std::byte>(storage_[i]); };
  }
  std::vector<std::byte>& bytes(std::size_t i) { return storage_[i]; }

  /// Every tensor is in `source`, with its type and bytes, and nothing else is.
  void expect_in(const TensorSource& source) const {
    EXPECT_EQ(source.names().size(), named_.size());
    for (const NamedTensor& tensor : named_) {
      const auto found = source.find(tensor.name);
      ASSERT_TRUE(found.has_value()) << tensor.name;
      EXPECT_EQ(found->type, tensor.view.type) << tensor.name;
      EXPECT_TRUE(std::equal(found->bytes.begin(), found->bytes.end(), tensor.view.bytes.begin(),
                             tensor.view.bytes.end()))
          << tensor.name;
    }
  }

 private:
  std::vector<std::vector<std::byte>> storage_;  // a moved vector keeps its bytes in place
  std::vector<NamedTensor> named_;
};

}  // namespace bessemer::checkpoint::testing
