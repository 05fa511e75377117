// Dropout by the mask of kernels/dropout_mask.h, a Philox block in every 64-bit lane.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dropout.cpp"
#include "kernels/cpu/simd.h"

#include <algorithm>

#include "base/parallel.h"
#include "base/rng.h"
#include "base/rounding.h"
#include "kernels/cpu/cpu.h"
#include "kernels/prepare.h"
#include "kernels/dropout_mask.h"

#ifndef BESSEMER_KERNELS_CPU_DROPOUT_ARGUMENTS
#define BESSEMER_KERNELS_CPU_DROPOUT_ARGUMENTS
namespace bessemer::kernels::cpu {

/// Elements whose random words are made at a time; a multiple of 4 times the lanes.
inline constexpr std::int64_t kMaskChunk = 1024;

struct DropoutArguments {
  DType dtype;
  std::int64_t elements;
  float scale;
  std::uint32_t drop_below;
  PhiloxKey key;
  std::uint32_t step;
  std::uint32_t site;
  const void* x;
  void* y;
};

}  // namespace bessemer::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR

void random_words(const DropoutArguments& args, std::uint64_t block, std::uint32_t* words) {
  for (std::int64_t i = 0; i < kMaskChunk; i += 4, ++block) {
    const PhiloxCounter four =
        philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                args.step, args.site},
               args.key);
    std::copy(four.begin(), four.end(), words + i);
  }
}

#else

/// The words of kMaskChunk / 4 consecutive Philox blocks. A 64-bit lane computes one block; only
/// the low half of each counter word is meant, and multiplication reads no more.
void random_words(const DropoutArguments& args, std::uint64_t block, std::uint32_t* words) {
  const hn::ScalableTag<std::uint64_t> d;
  const hn::RepartitionToNarrow<decltype(d)> d32;
  const auto low = hn::Set(d, 0xffffffffu);
  const auto multiplier0 = hn::Set(d32, 0xD2511F53u), multiplier1 = hn::Set(d32, 0xCD9E8D57u);
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < kMaskChunk; i += 4 * step) {
    const auto index = hn::Iota(d, block + static_cast<std::uint64_t>(i / 4));
    auto c0 = index, c1 = hn::ShiftRight<32>(index);
    auto c2 = hn::Set(d, std::uint64_t{args.step}), c3 = hn::Set(d, std::uint64_t{args.site});
    PhiloxKey key = args.key;
    for (int round = 0; round < 10; ++round) {
      const auto p0 = hn::MulEven(hn::BitCast(d32, c0), multiplier0);
      const auto p1 = hn::MulEven(hn::BitCast(d32, c2), multiplier1);
      c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), hn::Set(d, std::uint64_t{key[0]}));
      c1 = p1;
      c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), hn::Set(d, std::uint64_t{key[1]}));
      c3 = p0;
      key[0] += 0x9E3779B9u;
      key[1] += 0xBB67AE85u;
    }
    const auto first = hn::Or(hn::And(c0, low), hn::ShiftLeft<32>(c1));
    const auto second = hn::Or(hn::And(c2, low), hn::ShiftLeft<32>(c3));
    hn::StoreInterleaved2(first, second, d, reinterpret_cast<std::uint64_t*>(words + i));
  }
}

#endif

template <typename T>
void drop(const DropoutArguments& args, std::int64_t begin_chunk, std::int64_t end_chunk) {
  const FloatTag d;
  const WordTag du;
  HWY_ALIGN std::uint32_t words[kMaskChunk];
  const auto below = hn::Set(du, args.drop_below);
  const auto scale = hn::Set(d, args.scale);
  for (std::int64_t chunk = begin_chunk; chunk < end_chunk; ++chunk) {
    const std::int64_t offset = chunk * kMaskChunk;
    random_words(args, static_cast<std::uint64_t>(offset / 4), words);
    const T* x = static_cast<const T*>(args.x) + offset;
    T* y = static_cast<T*>(args.y) + offset;
    const std::int64_t count = std::min(kMaskChunk, args.elements - offset);
    for_each_vector(0, count, [&](std::int64_t i, auto access) {
      const auto dropped = hn::RebindMask(d, hn::Lt(hn::Load(du, words + i), below));
      access.store(hn::IfThenZeroElse(dropped, hn::Mul(access.load(x + i), scale)), y + i);
    });
  }
}

void drop_chunks(const DropoutArguments& args, std::int64_t begin, std::int64_t end) {
  if (args.dtype == DType::bf16) {
    drop<BFloat16>(args, begin, end);
  } else {
    drop<float>(args, begin, end);
  }
}

}  // namespace
}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bessemer::kernels::cpu {
namespace {
HWY_EXPORT(drop_chunks);
}

Prepared dropout(const KernelRequest& request) {
  if (auto declined = decline_other_floats(request)) return *declined;
  const double probability = request.attributes.real("probability");
  DropoutArguments prepared{};
  prepared.dtype = request.operand(0).dtype;
  prepared.elements = request.operand(0).elements();
  prepared.scale = static_cast<float>(keep_scale(probability));
  prepared.drop_below = threshold(probability);
  prepared.site = static_cast<std::uint32_t>(request.attributes.integer("site"));
  const std::int64_t chunks = divide_up(prepared.elements, kMaskChunk);
  return make_kernel([prepared, chunks](const KernelBuffers& buffers) {
    const auto* counter = buffers.operand<std::int64_t>(1);
    const auto seed = static_cast<std::uint64_t>(counter[0]);
    DropoutArguments args = prepared;
    args.key = {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
    args.step = fold(counter[1], counter[2]);
    args.x = buffers.operand<void>(0);
    args.y = buffers.result<void>(0);
    parallel_for(chunks, kGrain / kMaskChunk, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(drop_chunks)(args, begin, end);
    });
  });
}

}  // namespace bessemer::kernels::cpu
#endif
