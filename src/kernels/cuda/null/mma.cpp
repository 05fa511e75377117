#include "kernels/cuda/mma.cuh"

#include <cstring>

#include "base/error.h"

namespace bessemer::kernels::cuda {
namespace {

struct Operands {
  Fragment a;
  std::uint32_t b[2];
};

float element(std::uint32_t word, int half) {
  BFloat16 x;
  x.bits = static_cast<std::uint16_t>(word >> (16 * half));
  return static_cast<float>(x);
}

struct Depth {
  float at[16];  // k = 0 ... 15
};

// Row `row` of A and column `column` of B: where they are, the head of mma.cuh says.
Depth row_of_a(const null::Shared<Operands>& warp, int row) {
  Depth d;
  for (int c = 0; c < 4; ++c) {
    const Operands held = warp[row % 8 * 4 + c];
    for (int i = 0; i < 4; ++i) {
      const int half = i % 2, right = i / 2;
      d.at[8 * right + 2 * c + half] = element(held.a.at[row / 8 + 2 * right], half);
    }
  }
  return d;
}
Depth column_of_b(const null::Shared<Operands>& warp, int column) {
  Depth d;
  for (int c = 0; c < 4; ++c) {
    const Operands held = warp[column * 4 + c];
    for (int i = 0; i < 4; ++i) {
      d.at[8 * (i / 2) + 2 * c + i % 2] = element(held.b[i / 2], i % 2);
    }
  }
  return d;
}

void require_aligned(const void* address) {
  require(reinterpret_cast<std::uintptr_t>(address) % 16 == 0, "16 bytes at no multiple of 16");
}

std::uint16_t half_at(const void* row, int column) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, static_cast<const std::byte*>(row) + 2 * column, 2);
  return bits;
}

std::uint32_t word_of(std::uint16_t low, std::uint16_t high) {
  return low | static_cast<std::uint32_t>(high) << 16;
}

}  // namespace

void multiply(float (&c)[4], const Fragment& a, std::uint32_t b0, std::uint32_t b1) {
  const null::Shared<Operands> warp({a, {b0, b1}});
  const int row = lane() / 4, column = 2 * (lane() % 4);
  const Depth rows[] = {row_of_a(warp, row), row_of_a(warp, row + 8)};
  const Depth columns[] = {column_of_b(warp, column), column_of_b(warp, column + 1)};
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 16; ++k) c[i] += rows[i / 2].at[k] * columns[i % 2].at[k];
  }
}

Fragment load_matrices(const void* row) {
  require_aligned(row);
  const null::Shared<const void*> rows(row);
  Fragment f;
  for (int i = 0; i < 4; ++i) {
    const void* from = rows[8 * i + lane() / 4];
    f.at[i] = word_of(half_at(from, 2 * (lane() % 4)), half_at(from, 2 * (lane() % 4) + 1));
  }
  return f;
}

Fragment load_matrices_transposed(const void* row) {
  require_aligned(row);
  const null::Shared<const void*> rows(row);
  Fragment f;
  for (int i = 0; i < 4; ++i) {
    const int first = 8 * i + 2 * (lane() % 4);
    f.at[i] = word_of(half_at(rows[first], lane() / 4), half_at(rows[first + 1], lane() / 4));
  }
  return f;
}

void copy_async(void* shared, const void* global, bool there) {
  require_aligned(shared);
  if (there) require_aligned(global);
  null::begin_copy(shared, there ? global : nullptr, 16);
}

}  // namespace bessemer::kernels::cuda
