// Which of cuBLASLt's algorithms a product takes. The fastest is found by timing, once for each
// product and device; a later run must not time again, because another algorithm has other bits. So
// choices are kept on disk. Host code, without CUDA.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kernels/cuda/product.h"

namespace bessemer::kernels::cuda {

/// The words of a cublasLtMatmulAlgo_t, which mean the same to every process with the same version
/// of the library and the same device.
using ProductAlgorithm = std::array<std::uint64_t, 8>;

/// "NVIDIA H100 80GB HBM3; cuBLASLt 130100; bf16 2048x3072x768 nt -> fp32 + bias": all that the
/// choice of an algorithm depends on. `device` and `library` hold no tabs or line ends.
std::string product_key(std::string_view device, std::string_view library, const ProductSpec& spec);

/// By key. As text, a line each: the key, a tab, the eight words in hexadecimal.
using ProductChoices = std::map<std::string, ProductAlgorithm, std::less<>>;
std::string to_text(const ProductChoices& choices);
/// Lines that are not such are left out: what is lost is timed again.
ProductChoices parse_product_choices(std::string_view text);

/// The fastest of some algorithms by their measured seconds, in the order in which the library
/// recommends them: a later one has to be faster by more than what two measurements of the same
/// differ. Infinity stands for one that does not run.
std::size_t fastest(std::span<const double> seconds);

/// The choices of this process and, in a file, of those before it. Thread-safe.
class ProductTable {
 public:
  /// From now on choices are kept in a file in `directory`, which must be there. Without this, or
  /// where it is empty, they are kept in this process only.
  void keep_in(std::filesystem::path directory);

  std::optional<ProductAlgorithm> find(std::string_view key);

  /// What is kept for `key` from now on: `algorithm`, unless another process kept one meanwhile
  /// that is not `broken`, the one found before that does not work. A file that cannot be written
  /// is only logged.
  ProductAlgorithm keep(const std::string& key, const ProductAlgorithm& algorithm,
                        const std::optional<ProductAlgorithm>& broken = std::nullopt);

 private:
  void read_file();
  void write_file() const;
  std::filesystem::path path() const;

  std::mutex mutex_;
  std::filesystem::path directory_;
  ProductChoices choices_;
};

/// The one of this process.
ProductTable& product_table();

}  // namespace bessemer::kernels::cuda
