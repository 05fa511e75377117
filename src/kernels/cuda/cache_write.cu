// New rows of a key or value cache: a block of threads for each, 16 bytes a thread where rows are
// made of them. A row moves twice its bytes; the rest of the cache only where the result is
// another buffer.
#include <numeric>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 128;

struct Rows {
  std::int64_t tokens, slots;
  std::int64_t units;  // of a row
};

/// Of two rows for one position the later stays.
template <typename Unit>
__global__ void write_rows(const Rows rows, const Unit* update, const std::int32_t* positions,
                           Unit* cache) {
  const std::int64_t row = blockIdx.x;
  const std::int64_t sequence = row / rows.tokens, end = (sequence + 1) * rows.tokens;
  const std::int64_t slot = positions[row];
  if (slot < 0 || slot >= rows.slots) return;
  int is_overwritten = 0;
  for (std::int64_t later = row + 1 + threadIdx.x; later < end; later += kThreads) {
    if (positions[later] == slot) is_overwritten = 1;
  }
  if (block_max(is_overwritten, 0) != 0) return;
  const Unit* from = update + row * rows.units;
  Unit* to = cache + (sequence * rows.slots + slot) * rows.units;
  for (std::int64_t i = threadIdx.x; i < rows.units; i += kThreads) to[i] = from[i];
}

template <typename Unit>
Prepared write_units(const KernelRequest& request, std::int64_t row_bytes) {
  const TensorType& update = request.operand(1);
  const std::int64_t count = update.shape[0] * update.shape[1];
  const Rows rows{update.shape[1], request.operand(0).shape[1],
                  row_bytes / static_cast<std::int64_t>(sizeof(Unit))};
  return make_kernel([=, bytes = request.operand(0).bytes()](const KernelBuffers& buffers) {
    auto* cache = buffers.result<Unit>(0);
    if (buffers.operands[0] != cache) copy(cache, buffers.operands[0], bytes, buffers.stream);
    if (count == 0 || rows.units == 0) return;
    launch(write_rows<Unit>, Grid{count, 1, 1, kThreads}, buffers.stream, rows,
           buffers.operand<Unit>(1), buffers.operand<std::int32_t>(2), cache);
  });
}

}  // namespace

Prepared cache_write(const KernelRequest& request) {
  const TensorType& cache = request.operand(0);
  const std::int64_t row =
      static_cast<std::int64_t>(size_of(cache.dtype)) * cache.shape[2] * cache.shape[3];
  switch (std::gcd(row, std::int64_t{16})) {
    case 16: return write_units<Pack<std::uint64_t>>(request, row);
    case 8: return write_units<std::uint64_t>(request, row);
    case 4: return write_units<std::uint32_t>(request, row);
    case 2: return write_units<std::uint16_t>(request, row);
    default: return write_units<std::uint8_t>(request, row);
  }
}

}  // namespace bessemer::kernels::cuda
