// Rotary position embedding (Su et al., 2021). Reads x and writes y, once. A block turns the heads
// of some tokens, by angles that it makes once for all of them and keeps in shared memory: in fp64
// up to the fraction of a turn, so that they are right at any position.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/rounding.h"
#include "kernels/prepare.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/divisor.h"
#include "kernels/cuda/floats.cuh"
#include "kernels/rope_frequencies.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// Half the largest head size: what a kernel's parameters (4 KiB) hold.
constexpr int kMostPairs = 256;

/// Pairs of angles that a block makes at most, and elements that make a block worth its while.
constexpr int kBlockAngles = 2048;
constexpr int kBlockElements = 16384;

/// Turns of each pair from one position to the next.
struct Turns {
  double at[kMostPairs];
};

/// x, y: [tokens, heads, 2 * pairs], which may be the same; positions: [tokens].
template <typename T>
struct Rotation {
  const T* x;
  const std::int32_t* positions;
  T* y;
  std::int64_t tokens;
  int heads, pairs;
  int block_tokens;
  Divisor by_heads, by_runs;  // runs of kSize pairs of a head
  float cosine_factor, sine_factor;
};

struct Turn {
  float cosine, sine;
};

/// Of an angle in turns: the nearest quarter turn is taken off exactly, the Taylor polynomials do
/// the rest, at most an eighth of a turn, to an error below 1e-7.
__device__ inline Turn turn(double turns) {
  const double quarters = 4 * (turns - std::floor(turns));
  const double nearest = std::floor(quarters + 0.5);  // 0 to 4
  const int quadrant = static_cast<int>(nearest) & 3;
  const float r = static_cast<float>((quarters - nearest) * (std::numbers::pi / 2));
  const float z = r * r;
  const float s = r + r * z * (-1.0f / 6 + z * (1.0f / 120 + z * (-1.0f / 5040)));
  const float c = 1 + z * (-0.5f + z * (1.0f / 24 + z * (-1.0f / 720 + z * (1.0f / 40320))));
  const float cosine = quadrant % 2 == 0 ? c : s, sine = quadrant % 2 == 0 ? s : c;
  const bool left = quadrant == 1 || quadrant == 2, back = quadrant >= 2;
  return {left ? -cosine : cosine, back ? -sine : sine};
}

template <typename T, int kSize>
__global__ void __launch_bounds__(kThreads) rotate(Rotation<T> p, Turns turns) {
  float* cosines = shared_memory<float>();  // [block_tokens, pairs]
  float* sines = cosines + p.block_tokens * p.pairs;
  const std::int64_t first = std::int64_t{blockIdx.x} * p.block_tokens;
  const int tokens = static_cast<int>(std::min<std::int64_t>(p.block_tokens, p.tokens - first));
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < tokens * p.pairs; i += kThreads) {
    const Turn by = turn(p.positions[first + i / p.pairs] * turns.at[i % p.pairs]);
    cosines[i] = by.cosine * p.cosine_factor;
    sines[i] = by.sine * p.sine_factor;
  }
  sync_block();
  const int runs = p.pairs / kSize;  // of half a head
  for (int i = thread; i < tokens * p.heads * runs; i += kThreads) {
    const int head = static_cast<int>(p.by_runs.quotient(i)), pair = (i - head * runs) * kSize;
    const int angle = static_cast<int>(p.by_heads.quotient(head)) * p.pairs + pair;
    const std::int64_t at = (first * p.heads + head) * 2 * p.pairs + pair;
    const auto x0 = load_floats<kSize>(p.x + at), x1 = load_floats<kSize>(p.x + at + p.pairs);
    const auto c = load_floats<kSize>(cosines + angle), s = load_floats<kSize>(sines + angle);
    Run<float, kSize> y0, y1;
    for (int e = 0; e < kSize; ++e) {
      y0.at[e] = c.at[e] * x0.at[e] - s.at[e] * x1.at[e];
      y1.at[e] = s.at[e] * x0.at[e] + c.at[e] * x1.at[e];
    }
    store_floats(p.y + at, y0);
    store_floats(p.y + at + p.pairs, y1);
  }
}

template <typename T>
Prepared prepare(const TensorType& x, const Attributes& attributes) {
  const RopeFrequencies frequencies = rope_frequencies(x.dim(-1), attributes);
  Rotation<T> prepared{};
  prepared.tokens = x.dim(0) * x.dim(1);
  prepared.heads = static_cast<int>(x.dim(2));
  prepared.pairs = static_cast<int>(x.dim(3)) / 2;
  prepared.cosine_factor = static_cast<float>(frequencies.attention_factor);
  prepared.sine_factor =
      prepared.cosine_factor * (attributes.boolean("inverse", false) ? -1.0f : 1.0f);
  const std::int64_t worth = divide_up(std::int64_t{kBlockElements}, x.dim(2) * x.dim(3));
  const std::int64_t most = std::max(1, kBlockAngles / prepared.pairs);
  prepared.block_tokens = static_cast<int>(std::min({worth, most, prepared.tokens}));
  Turns turns{};
  std::ranges::transform(frequencies.inverse, turns.at,
                         [](double radians) { return radians / (2 * std::numbers::pi); });
  constexpr int kPack = Pack<T>::kSize;
  const bool is_of_packs = prepared.pairs % kPack == 0;
  const auto kernel = is_of_packs ? rotate<T, kPack> : rotate<T, 1>;
  prepared.by_heads = Divisor(prepared.heads);
  prepared.by_runs = Divisor(is_of_packs ? prepared.pairs / kPack : prepared.pairs);
  const Grid grid{
      divide_up(prepared.tokens, std::int64_t{prepared.block_tokens}), 1, 1, kThreads,
      static_cast<std::size_t>(2 * prepared.block_tokens * prepared.pairs) * sizeof(float)};
  return make_kernel([=](const KernelBuffers& buffers) {
    Rotation<T> args = prepared;
    args.x = buffers.operand<T>(0);
    args.positions = buffers.operand<std::int32_t>(1);
    args.y = buffers.result<T>(0);
    launch(kernel, grid, buffers.stream, args, turns);
  });
}

}  // namespace

Prepared rope(const KernelRequest& request) {
  if (auto declined = decline_other_floats(request)) return *declined;
  const TensorType& x = request.operand(0);
  if (x.dim(-1) > 2 * kMostPairs) {
    return Declined{fmt::format("head size {} is above {}", x.dim(-1), 2 * kMostPairs)};
  }
  if (x.elements() == 0) return make_kernel([](const KernelBuffers&) {});
  if (x.dim(-2) * x.dim(-1) > (std::int64_t{1} << 20)) {
    return Declined{"more than 2^20 elements of one token"};
  }
  return of_dtype(x.dtype, [&]<typename T>(T) { return prepare<T>(x, request.attributes); });
}

}  // namespace bessemer::kernels::cuda
