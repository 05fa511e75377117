// What a kernel is. Two moments:
//
//   prepare   at planning: sees types, attributes and the machine; chooses the algorithm, states
//             its scratch bytes, or declines with a reason (which the log shows at debug level).
//   run       in the step: does it. Allocates nothing, throws nothing, decides nothing. A CUDA
//             kernel queues its work and returns; what the driver refuses it throws as an Error.
//
// Buffers are dense, row-major and aligned to 64 bytes unless a layout attribute says otherwise.
// A result buffer may be the same as an operand's where the op says so (OpDefinition::in_place);
// kernels of such ops are right both ways. A null operand stands for an absent optional one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/attributes.h"
#include "base/error.h"
#include "base/tensor_type.h"

namespace bessemer::kernels {

/// What does the arithmetic of the device tier.
enum class Backend : std::uint8_t { cpu, cuda };
std::string_view name_of(Backend backend);

/// What the machine that runs the plan computes with. The host's processor is there on every one.
struct Machine {
  bool avx2 = false;         // AVX2 and FMA
  bool avx512 = false;       // F, BW, DQ, VL
  bool avx512_bf16 = false;  // native bf16 dot products
  int threads = 1;
  std::size_t l2_bytes = std::size_t{1} << 20;
  Backend device = Backend::cpu;
  int compute_capability = 0;  // of a CUDA device, ten times: 90 is 9.0

  static Machine detect();
};

struct KernelRequest {
  std::span<const std::optional<TensorType>> operands;  // nullopt: an absent optional operand
  std::span<const TensorType> results;
  const Attributes& attributes;
  const Machine& machine;

  bool has_operand(std::size_t i) const { return i < operands.size() && operands[i].has_value(); }
  const TensorType& operand(std::size_t i) const {
    require(has_operand(i), "kernel operand {} is absent", i);
    return *operands[i];
  }
};

struct KernelBuffers {
  std::span<const void* const> operands;
  std::span<void* const> results;
  void* scratch = nullptr;  // at least Kernel::scratch_bytes(), 64-byte aligned
  void* stream = nullptr;   // of a CUDA kernel: where it is queued (kernels/cuda/device.h)

  /// Null where operand `i` is absent or beyond the list.
  template <typename T>
  const T* operand(std::size_t i) const {
    return i < operands.size() ? static_cast<const T*>(operands[i]) : nullptr;
  }
  template <typename T>
  T* result(std::size_t i) const {
    return static_cast<T*>(results[i]);
  }
};

/// A kernel prepared for one instruction. Immutable after prepare; `run` may be called from one
/// thread at a time per set of buffers and uses the thread team inside.
class Kernel {
 public:
  Kernel() = default;
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
  virtual ~Kernel() = default;
  virtual std::size_t scratch_bytes() const { return 0; }
  /// Once, before the first run, where the device is: what cannot be done at planning, as
  /// compiling for the device or asking its library for an algorithm. Error where that fails.
  virtual void load() const {}
  virtual void run(const KernelBuffers& buffers) const = 0;
};

struct Declined {
  std::string reason;
};

using Prepared = std::variant<std::unique_ptr<const Kernel>, Declined>;

struct KernelCandidate {
  std::string_view name;  // "cpu.flash_attention", "onednn.matmul", "reference"
  Prepared (*prepare)(const KernelRequest& request);
  Backend backend = Backend::cpu;  // where its buffers lie, and what runs it
};

/// Wraps a callable `void(const KernelBuffers&)` as a prepared kernel.
template <typename Body>
Prepared make_kernel(Body body, std::size_t scratch_bytes = 0) {
  class Wrapped final : public Kernel {
   public:
    Wrapped(Body b, std::size_t s) : body_(std::move(b)), scratch_(s) {}
    std::size_t scratch_bytes() const override { return scratch_; }
    void run(const KernelBuffers& buffers) const override { body_(buffers); }

   private:
    Body body_;
    std::size_t scratch_;
  };
  return std::unique_ptr<const Kernel>(std::make_unique<Wrapped>(std::move(body), scratch_bytes));
}

}  // namespace bessemer::kernels
