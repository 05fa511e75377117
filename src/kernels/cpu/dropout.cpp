// Dropout by the mask of kernels/dropout_mask.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dropout.cpp"
#include "kernels/cpu/simd.h"

#include "kernels/cpu/random_words-inl.h"

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

struct DropoutArguments {
  DType dtype;
  std::int64_t elements;
  float scale;
  std::uint32_t drop_below;
  CounterRng rng{0, 0, 0};
  const void* x;
  void* y;
};

}  // namespace bessemer::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {
namespace {

template <typename T>
void drop(const DropoutArguments& args, std::int64_t begin_chunk, std::int64_t end_chunk) {
  const FloatTag d;
  const WordTag du;
  HWY_ALIGN std::uint32_t words[kRandomWords];
  const auto below = hn::Set(du, args.drop_below);
  const auto scale = hn::Set(d, args.scale);
  for (std::int64_t chunk = begin_chunk; chunk < end_chunk; ++chunk) {
    const std::int64_t offset = chunk * kRandomWords;
    random_words(args.rng, static_cast<std::uint64_t>(offset / 4), words);
    const T* x = static_cast<const T*>(args.x) + offset;
    T* y = static_cast<T*>(args.y) + offset;
    const std::int64_t count = std::min(kRandomWords, args.elements - offset);
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
  const auto site = static_cast<std::uint32_t>(request.attributes.integer("site"));
  const std::int64_t chunks = divide_up(prepared.elements, kRandomWords);
  return make_kernel([prepared, site, chunks](const KernelBuffers& buffers) {
    const auto* counter = buffers.operand<std::int64_t>(1);
    DropoutArguments args = prepared;
    args.rng =
        CounterRng(static_cast<std::uint64_t>(counter[0]), fold(counter[1], counter[2]), site);
    args.x = buffers.operand<void>(0);
    args.y = buffers.result<void>(0);
    parallel_for(chunks, kGrain / kRandomWords, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(drop_chunks)(args, begin, end);
    });
  });
}

}  // namespace bessemer::kernels::cpu
#endif
