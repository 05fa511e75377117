// Rotary position embedding (Su et al., 2021). The angles of a token are made once, in fp64, and
// turn all of its heads.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rope.cpp"
#include "kernels/cpu/simd.h"

#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "kernels/cpu/cpu.h"
#include "kernels/prepare.h"
#include "kernels/rope_frequencies.h"

#ifndef BESSEMER_KERNELS_CPU_ROPE_ARGUMENTS
#define BESSEMER_KERNELS_CPU_ROPE_ARGUMENTS
namespace bessemer::kernels::cpu {

/// Half the largest head size; the cosines and sines of a token stand on the stack.
inline constexpr std::int64_t kMaxPairs = 512;

/// Lanes of fp64 of the widest instruction set. (HWY_MAX_BYTES speaks of one instruction set only,
/// in the part compiled once of the baseline.)
inline constexpr std::int64_t kWidestVector = 8;

/// x, y: [tokens, heads, 2 * pairs] of `dtype`; positions: [tokens]; frequencies: [pairs], padded
/// with zeros to whole vectors of fp64.
struct Rotation {
  DType dtype;
  std::int64_t heads;
  std::int64_t pairs;
  const double* frequencies;
  double factor;  // of cosines and sines
  double sign;    // -1 turns back
  const void* x;
  const std::int32_t* positions;
  void* y;
};

}  // namespace bessemer::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

using DoubleTag = hn::ScalableTag<double>;
using DoubleVec = hn::Vec<DoubleTag>;

struct Turn {
  DoubleVec cosine;
  DoubleVec sine;
};

HWY_INLINE DoubleVec number(double value) { return hn::Set(DoubleTag(), value); }

/// Absolute error below 1e-9 for |angle| < 2^31: reduced to [-pi/4, pi/4] by the nearest multiple
/// of pi/2 (in two parts, after Cody and Waite), there the Taylor polynomials.
HWY_INLINE Turn turn(DoubleVec angle) {
  const DoubleVec quarter = hn::Round(hn::Mul(angle, number(0.63661977236758134308)));
  DoubleVec r = hn::NegMulAdd(quarter, number(1.57079632679489655800), angle);
  r = hn::NegMulAdd(quarter, number(6.12323399573676603587e-17), r);
  const DoubleVec z = hn::Mul(r, r);
  DoubleVec s = hn::MulAdd(z, number(1.0 / 362880), number(-1.0 / 5040));
  s = hn::MulAdd(z, s, number(1.0 / 120));
  s = hn::MulAdd(z, s, number(-1.0 / 6));
  s = hn::MulAdd(hn::Mul(r, z), s, r);
  DoubleVec c = hn::MulAdd(z, number(-1.0 / 3628800), number(1.0 / 40320));
  c = hn::MulAdd(z, c, number(-1.0 / 720));
  c = hn::MulAdd(z, c, number(1.0 / 24));
  c = hn::MulAdd(z, c, number(-0.5));
  c = hn::MulAdd(z, c, number(1.0));
  // Quarter turns 0, 1, 2, 3: odd ones exchange sine and cosine, the rest are signs.
  const DoubleVec quadrant =
      hn::NegMulAdd(number(4.0), hn::Floor(hn::Mul(quarter, number(0.25))), quarter);
  const auto first = hn::Eq(quadrant, number(1.0)), third = hn::Eq(quadrant, number(3.0));
  const auto odd = hn::Or(first, third);
  const auto back = hn::Ge(quadrant, number(2.0));
  const auto left = hn::Or(first, hn::Eq(quadrant, number(2.0)));
  const DoubleVec sine = hn::IfThenElse(odd, c, s), cosine = hn::IfThenElse(odd, s, c);
  return {hn::IfThenElse(left, hn::Neg(cosine), cosine), hn::IfThenElse(back, hn::Neg(sine), sine)};
}

/// cosines and sines of the pairs of a token, rounded to fp32; whole vectors are written.
void make_turns(const Rotation& args, double position, float* cosines, float* sines) {
  const DoubleTag d;
  const hn::Rebind<float, DoubleTag> narrow;
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < args.pairs; i += step) {
    const Turn t = turn(hn::Mul(number(position), hn::LoadU(d, args.frequencies + i)));
    hn::StoreU(hn::DemoteTo(narrow, hn::Mul(t.cosine, number(args.factor))), narrow, cosines + i);
    hn::StoreU(hn::DemoteTo(narrow, hn::Mul(t.sine, number(args.factor * args.sign))), narrow,
               sines + i);
  }
}

template <typename T>
void rotate(const Rotation& args, std::int64_t begin, std::int64_t end) {
  HWY_ALIGN float cosines[kMaxPairs + kWidestVector];
  HWY_ALIGN float sines[kMaxPairs + kWidestVector];
  const std::int64_t pairs = args.pairs;
  for (std::int64_t token = begin; token < end; ++token) {
    make_turns(args, args.positions[token], cosines, sines);
    for (std::int64_t head = 0; head < args.heads; ++head) {
      const std::int64_t offset = (token * args.heads + head) * 2 * pairs;
      const T* x = static_cast<const T*>(args.x) + offset;
      T* y = static_cast<T*>(args.y) + offset;
      for_each_vector(0, pairs, [&](std::int64_t i, auto access) {
        const auto c = load(cosines + i), s = load(sines + i);
        const auto x0 = access.load(x + i), x1 = access.load(x + pairs + i);
        access.store(hn::NegMulAdd(s, x1, hn::Mul(c, x0)), y + i);
        access.store(hn::MulAdd(s, x0, hn::Mul(c, x1)), y + pairs + i);
      });
    }
  }
}

void rotate_tokens(const Rotation& args, std::int64_t begin, std::int64_t end) {
  if (args.dtype == DType::bf16) {
    rotate<BFloat16>(args, begin, end);
  } else {
    rotate<float>(args, begin, end);
  }
}

}  // namespace
}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
namespace {
HWY_EXPORT(rotate_tokens);
}

Prepared rope(const KernelRequest& request) {
  if (auto declined = decline_other_floats(request)) return *declined;
  const TensorType& x = request.operand(0);
  Rotation prepared{};
  prepared.dtype = x.dtype;
  prepared.heads = x.dim(-2);
  prepared.pairs = x.dim(-1) / 2;
  if (prepared.pairs > kMaxPairs) {
    return Declined{fmt::format("head size {} is above {}", x.dim(-1), 2 * kMaxPairs)};
  }
  const RopeFrequencies frequencies = rope_frequencies(x.dim(-1), request.attributes);
  prepared.factor = frequencies.attention_factor;
  prepared.sign = request.attributes.boolean("inverse", false) ? -1 : 1;
  std::vector<double> padded = frequencies.inverse;
  padded.resize(padded.size() + kWidestVector);
  const std::int64_t tokens = x.shape[0] * x.shape[1];
  const std::int64_t grain = std::max<std::int64_t>(
      1, kGrain / std::max<std::int64_t>(1, prepared.heads * 2 * prepared.pairs));
  return make_kernel([=, padded = std::move(padded)](const KernelBuffers& buffers) {
    Rotation args = prepared;
    args.frequencies = padded.data();
    args.x = buffers.operand<void>(0);
    args.positions = buffers.operand<std::int32_t>(1);
    args.y = buffers.result<void>(0);
    parallel_for(tokens, grain, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(rotate_tokens)(args, begin, end);
    });
  });
}

}  // namespace bessemer::kernels::cpu
#endif
