// Matrix products by cuBLASLt, which is opened by the first load.
//
// cuBLASLt's matrices are column-major: a row-major matrix is its transpose. So it makes the
// transpose of the result, bᵀ·aᵀ, from the operands as they lie, swapped; its bias, which belongs
// to rows, then belongs to our columns.
//
// Same bits in every run: the algorithm of a product is chosen once (product_table.h), its
// workspace is scratch of its own, and sums that are cut along k are only added in fp32 in a step
// of its own, not in place in the order in which they happen to be there.
#include "kernels/cuda/product.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <set>
#include <vector>

#include <cublasLt.h>
#include <fmt/format.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "kernels/cuda/driver/check.h"
#include "kernels/cuda/driver/cublas_lt.h"
#include "kernels/cuda/driver/product_trial.h"
#include "kernels/cuda/product_table.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr std::size_t kMostWorkspace = std::size_t{32} << 20;  // what cuBLAS itself takes on sm_90
constexpr std::size_t kLeastWorkspace = std::size_t{1} << 20;
constexpr std::size_t kWorkspaceAlignment = 256;
constexpr int kCandidates = 16;

/// Stands in the table for a product with sums of rows that takes longer than one without.
constexpr ProductAlgorithm kApart{};

/// Up to 32 partial sums of each element.
std::size_t workspace_of(const ProductSpec& spec) {
  const auto elements = static_cast<std::size_t>(spec.batch * spec.m * spec.n);
  return std::clamp(align_up(elements * sizeof(float) * 32), kLeastWorkspace, kMostWorkspace);
}

/// The device that products are made on, as the table names it; a process has one.
std::string device_text() {
  int device = 0;
  cudaDeviceProp properties{};
  check(cudaGetDevice(&device), "the current device");
  check(cudaGetDeviceProperties(&properties, device), "the properties of the device");
  return fmt::format("{}, {} multiprocessors", properties.name, properties.multiProcessorCount);
}

std::string key_of(const ProductSpec& spec) {
  static const std::string device = device_text();
  return product_key(device, fmt::format("cuBLASLt {}", CublasLt::get().version()), spec);
}

cublasLtMatmulAlgo_t algorithm_of(const ProductAlgorithm& words) {
  cublasLtMatmulAlgo_t algorithm;
  std::ranges::copy(words, algorithm.data);
  return algorithm;
}

ProductAlgorithm words_of(const cublasLtMatmulAlgo_t& algorithm) {
  ProductAlgorithm words;
  std::ranges::copy(algorithm.data, words.begin());
  return words;
}

/// Whether this process asks for the first time.
bool is_first(const std::string& key) {
  static std::mutex mutex;
  static std::set<std::string> seen;
  const std::lock_guard lock(mutex);
  return seen.insert(key).second;
}

/// Whether partial sums, if it makes any, are added in fp32 and in a fixed order.
bool is_deterministic(const cublasLtMatmulAlgo_t& algorithm) {
  const auto scheme = CublasLt::get().reduction_scheme(algorithm);
  return scheme == CUBLASLT_REDUCTION_SCHEME_NONE ||
         scheme == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
}

class CublasProduct final : public Product {
 public:
  explicit CublasProduct(const ProductSpec& spec) : spec_(spec), workspace_(workspace_of(spec)) {
    require_valid(spec);
  }

  std::size_t scratch_bytes() const override { return workspace_ + kWorkspaceAlignment; }

  bool is_available() const override {
    describe();
    return !candidates().empty() && (!spec_.row_sums || row_sums_pay());
  }

  void load() const override {
    if (is_loaded_) return;
    describe();
    const std::string key = key_of(spec_);
    const bool first = is_first(key);
    const std::optional<ProductAlgorithm> kept = product_table().find(key);
    if (kept && fits(algorithm_of(*kept))) {
      algorithm_ = algorithm_of(*kept);
      if (first) run_once();
    } else {
      algorithm_ = choose(key, kept);
    }
    is_loaded_ = true;
  }

  void run(const ProductBuffers& buffers, Stream stream) const override {
    require(is_loaded_, "a product runs before it is loaded");
    ProductBuffers aligned = buffers;
    const auto address = reinterpret_cast<std::uintptr_t>(buffers.scratch);
    aligned.scratch = reinterpret_cast<void*>(align_up(address, kWorkspaceAlignment));
    check(call_->queue(aligned, algorithm_, workspace_, static_cast<cudaStream_t>(stream)),
          "a matrix product");
  }

 private:
  struct Timed {
    cublasLtMatmulAlgo_t algorithm;
    double seconds;
  };

  void describe() const {
    if (!call_) call_ = std::make_unique<CublasCall>(spec_);
  }

  bool fits(const cublasLtMatmulAlgo_t& algorithm) const {
    return is_deterministic(algorithm) && call_->workspace_of(algorithm) <= workspace_;
  }

  std::vector<cublasLtMatmulAlgo_t> candidates() const {
    std::vector<cublasLtMatmulAlgo_t> found = call_->heuristic(workspace_, kCandidates);
    std::erase_if(found, [&](const auto& algorithm) { return !fits(algorithm); });
    return found;
  }

  Timed fastest_of(const std::vector<cublasLtMatmulAlgo_t>& found, const ProductTrial& trial,
                   const std::string& key) const {
    std::vector<double> seconds;
    for (const auto& algorithm : found) seconds.push_back(trial.seconds(*call_, algorithm));
    const std::size_t best = fastest(seconds);
    log::debug("{}: algorithm {} of {}, {:.1f} us", key, best, found.size(), seconds[best] * 1e6);
    return {found[best], seconds[best]};
  }

  cublasLtMatmulAlgo_t choose(const std::string& key,
                              const std::optional<ProductAlgorithm>& broken) const {
    const std::vector<cublasLtMatmulAlgo_t> found = candidates();
    require(!found.empty(), "cuBLASLt has no algorithm for {} within {} bytes of workspace", key,
            workspace_);
    const auto trial = ProductTrial::make(spec_, workspace_);
    if (!trial) {
      log::warn("{}: no memory to time its algorithms; cuBLASLt's first is taken", key);
      return found.front();
    }
    const Timed best = fastest_of(found, *trial, key);
    require(best.seconds < std::numeric_limits<double>::infinity(),
            "none of cuBLASLt's {} algorithms for {} runs", found.size(), key);
    return algorithm_of(product_table().keep(key, words_of(best.algorithm), broken));
  }

  /// Whether the sums take less time here than in a kernel that reads a once more. Kept like an
  /// algorithm: the other way has other bits.
  bool row_sums_pay() const {
    const std::string key = key_of(spec_);
    if (const auto kept = product_table().find(key)) return *kept != kApart;
    ProductSpec plain = spec_;
    plain.row_sums = false;
    const CublasProduct without(plain);
    without.load();
    const auto trial = ProductTrial::make(spec_, workspace_);
    if (!trial) return true;
    const double apart = trial->seconds(*without.call_, without.algorithm_) + trial->seconds_of_a();
    const Timed best = fastest_of(candidates(), *trial, key);
    log::debug("{}: {:.1f} us, apart {:.1f} us", key, best.seconds * 1e6, apart * 1e6);
    const ProductAlgorithm faster = best.seconds < apart ? words_of(best.algorithm) : kApart;
    return product_table().keep(key, faster) != kApart;
  }

  /// So that the library has its code on the device before the step is captured.
  void run_once() const {
    if (const auto trial = ProductTrial::make(spec_, workspace_)) trial->run(*call_, algorithm_);
  }

  ProductSpec spec_;
  std::size_t workspace_;
  mutable std::unique_ptr<CublasCall> call_;  // where the device is
  mutable cublasLtMatmulAlgo_t algorithm_{};  // by load()
  mutable bool is_loaded_ = false;
};

}  // namespace

std::unique_ptr<const Product> make_product(const ProductSpec& spec) {
  return std::make_unique<CublasProduct>(spec);
}

}  // namespace bessemer::kernels::cuda
