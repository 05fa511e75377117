// A tensor for tests: typed bytes that read and write as doubles, at any alignment.
#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "base/tensor_type.h"

namespace bessemer::testing {

class Tensor {
 public:
  /// `misalign` elements past a 64-byte boundary.
  explicit Tensor(TensorType type, std::size_t misalign = 0)
      : type_(std::move(type)),
        misalign_(misalign),
        storage_(type_.bytes() + 64 * 3 + misalign * 8) {}

  const TensorType& type() const { return type_; }
  std::int64_t size() const { return type_.elements(); }

  void* data() {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.data());
    return storage_.data() + ((address + 63) / 64 * 64 - address) +
           misalign_ * size_of(type_.dtype);
  }
  const void* data() const { return const_cast<Tensor*>(this)->data(); }
  template <typename T>
  T* as() {
    return static_cast<T*>(data());
  }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data());
  }

  double get(std::int64_t i) const {
    switch (type_.dtype) {
      case DType::fp64: return as<double>()[i];
      case DType::fp32: return as<float>()[i];
      case DType::bf16: return static_cast<float>(as<BFloat16>()[i]);
      case DType::fp16: return static_cast<float>(as<Float16>()[i]);
      case DType::int8: return as<std::int8_t>()[i];
      case DType::uint8:
      case DType::boolean: return as<std::uint8_t>()[i];
      case DType::int32: return as<std::int32_t>()[i];
      case DType::int64: return static_cast<double>(as<std::int64_t>()[i]);
      case DType::fp8_e4m3: return static_cast<float>(as<Fp8E4M3>()[i]);
      case DType::fp8_e5m2: return static_cast<float>(as<Fp8E5M2>()[i]);
    }
    fail("no test access to {}", name_of(type_.dtype));
  }

  void set(std::int64_t i, double value) {
    switch (type_.dtype) {
      case DType::fp64: as<double>()[i] = value; return;
      case DType::fp32: as<float>()[i] = static_cast<float>(value); return;
      case DType::bf16: as<BFloat16>()[i] = BFloat16(static_cast<float>(value)); return;
      case DType::fp16: as<Float16>()[i] = Float16(static_cast<float>(value)); return;
      case DType::int8: as<std::int8_t>()[i] = static_cast<std::int8_t>(value); return;
      case DType::uint8:
      case DType::boolean: as<std::uint8_t>()[i] = static_cast<std::uint8_t>(value); return;
      case DType::int32: as<std::int32_t>()[i] = static_cast<std::int32_t>(value); return;
      case DType::int64: as<std::int64_t>()[i] = static_cast<std::int64_t>(value); return;
      case DType::fp8_e4m3: as<Fp8E4M3>()[i] = Fp8E4M3(static_cast<float>(value)); return;
      case DType::fp8_e5m2: as<Fp8E5M2>()[i] = Fp8E5M2(static_cast<float>(value)); return;
    }
  }

  Tensor(const Tensor& other) : Tensor(other.type_, other.misalign_) {
    std::memcpy(data(), other.data(), type_.bytes());
  }
  Tensor& operator=(const Tensor& other) {
    if (this != &other) {
      Tensor copy(other);
      std::swap(type_, copy.type_);
      std::swap(misalign_, copy.misalign_);
      storage_.swap(copy.storage_);  // swapping vectors keeps addresses, so alignment holds
    }
    return *this;
  }

 private:
  TensorType type_;
  std::size_t misalign_;
  std::vector<std::byte> storage_;
};

/// Standard normal values times `deviation`.
inline Tensor normal(TensorType type, std::uint64_t seed, double deviation = 1.0,
                     std::size_t misalign = 0) {
  Tensor tensor(std::move(type), misalign);
  const CounterRng rng(seed, 0, 0);
  for (std::int64_t i = 0; i < tensor.size(); ++i) tensor.set(i, deviation * rng.normal(i));
  return tensor;
}

/// Uniform integers in [low, high).
inline Tensor integers(TensorType type, std::uint64_t seed, std::int64_t low, std::int64_t high) {
  Tensor tensor(std::move(type));
  const CounterRng rng(seed, 0, 1);
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    tensor.set(i, static_cast<double>(low + rng.word(i) % (high - low)));
  }
  return tensor;
}

inline Tensor of(TensorType type, const std::vector<double>& values) {
  Tensor tensor(std::move(type));
  require(static_cast<std::int64_t>(values.size()) == tensor.size(), "test tensor size");
  for (std::size_t i = 0; i < values.size(); ++i)
    tensor.set(static_cast<std::int64_t>(i), values[i]);
  return tensor;
}

/// The largest |a - b| over max(1, largest |b|); infinity where exactly one of a pair is NaN or the
/// infinities differ.
inline double relative_difference(const Tensor& a, const Tensor& b) {
  require(a.type().shape == b.type().shape, "comparing {} with {}", to_string(a.type()),
          to_string(b.type()));
  double largest = 0, magnitude = 1;
  for (std::int64_t i = 0; i < a.size(); ++i) {
    const double x = a.get(i), y = b.get(i);
    if (std::isnan(x) && std::isnan(y)) continue;
    if (x == y) {
      if (std::isfinite(y)) magnitude = std::max(magnitude, std::abs(y));
      continue;
    }
    if (!std::isfinite(x) || !std::isfinite(y)) return INFINITY;
    largest = std::max(largest, std::abs(x - y));
    magnitude = std::max(magnitude, std::abs(y));
  }
  return largest / magnitude;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.type() == b.type() && std::memcmp(a.data(), b.data(), a.type().bytes()) == 0;
}

}  // namespace bessemer::testing
