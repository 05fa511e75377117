// The dropout of attention weights, a tile at a time: vectorised Philox (base/rng.h) whose lanes
// are queries. The four words of a Philox block are the masks of four consecutive keys.

#include "kernels/cpu/attention_tile-inl.h"

#if defined(BESSEMER_KERNELS_CPU_ATTENTION_DROPOUT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BESSEMER_KERNELS_CPU_ATTENTION_DROPOUT_INL_H_
#undef BESSEMER_KERNELS_CPU_ATTENTION_DROPOUT_INL_H_
#else
#define BESSEMER_KERNELS_CPU_ATTENTION_DROPOUT_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace bessemer::kernels::cpu::HWY_NAMESPACE {

/// One (query tile, key block): `index` is the dropout index of its first query and key, `stride`
/// the distance from one query to the next.
struct DropoutTile {
  std::uint64_t index, stride;
  std::int64_t queries, keys;
};

inline DropoutTile dropout_tile(const AttentionProblem& problem, std::int64_t b, std::int64_t h,
                                std::int64_t first_query, std::int64_t queries,
                                std::int64_t first_key, std::int64_t keys) {
  const std::uint64_t index = attention_dropout_index(b, h, first_query, first_key, problem.heads,
                                                      problem.queries, problem.keys);
  return {index, static_cast<std::uint64_t>(problem.keys), queries, keys};
}

/// kept[s][i] = what the weight of key s and query i is multiplied by. One Philox block at a time.
inline void fill_kept_singly(const AttentionDropout& dropout, const DropoutTile& tile,
                             float* kept) {
  for (std::int64_t i = 0; i < tile.queries; ++i) {
    std::uint64_t index = tile.index + static_cast<std::uint64_t>(i) * tile.stride;
    PhiloxCounter words = dropout.block(index >> 2);
    for (std::int64_t s = 0; s < tile.keys; ++s, ++index) {
      if ((index & 3) == 0) words = dropout.block(index >> 2);
      kept[s * kQueryTile + i] = words[index & 3] < dropout.drop_below ? 0.0f : dropout.scale;
    }
  }
}

#if HWY_TARGET == HWY_SCALAR

inline void fill_kept(const AttentionDropout& dropout, const DropoutTile& tile, float* kept) {
  fill_kept_singly(dropout, tile, kept);
}

#else

using WordVector = hn::Vec<Words>;

/// The high and low halves of the products of each lane with `factor`.
HWY_INLINE void multiply_wide(WordVector a, WordVector factor, WordVector& high, WordVector& low) {
  const Words d;
  const hn::Repartition<std::uint64_t, Words> dd;
  const auto even = hn::MulEven(a, factor);
  const auto odd = hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(dd, a))), factor);
  high = hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even)));
  low = hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even));
}

/// As philox() in base/rng.h, for one counter a lane; `counter` becomes the words.
HWY_INLINE void philox_lanes(WordVector (&counter)[4], PhiloxKey key) {
  const Words d;
  const WordVector factor0 = hn::Set(d, 0xD2511F53u), factor1 = hn::Set(d, 0xCD9E8D57u);
  for (int round = 0; round < 10; ++round) {
    WordVector high0, low0, high1, low1;
    multiply_wide(counter[0], factor0, high0, low0);
    multiply_wide(counter[2], factor1, high1, low1);
    counter[0] = hn::Xor(hn::Xor(high1, counter[1]), hn::Set(d, key[0]));
    counter[1] = low1;
    counter[2] = hn::Xor(hn::Xor(high0, counter[3]), hn::Set(d, key[1]));
    counter[3] = low0;
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
}

/// As fill_kept_singly, for a stride and an index that are multiples of four. Rows are written in
/// fours and columns in whole strips, so beyond the tile too.
inline void fill_kept_in_lanes(const AttentionDropout& dropout, const DropoutTile& tile,
                               float* kept) {
  const Words d;
  const WordVector drop_below = hn::Set(d, dropout.drop_below);
  const Vector scale = hn::Set(Floats(), dropout.scale);
  for (std::int64_t i = 0; i < round_up(tile.queries, kStrip); i += kLanes) {
    HWY_ALIGN std::uint32_t low[kLanes], high[kLanes];
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const auto row = static_cast<std::uint64_t>(i + lane);
      const std::uint64_t block = (tile.index + row * tile.stride) >> 2;
      low[lane] = static_cast<std::uint32_t>(block);
      high[lane] = static_cast<std::uint32_t>(block >> 32);
    }
    const WordVector first_low = hn::Load(d, low), first_high = hn::Load(d, high);
    for (std::int64_t s = 0; s < tile.keys; s += 4) {
      const WordVector next = hn::Add(first_low, hn::Set(d, static_cast<std::uint32_t>(s >> 2)));
      const auto carried = hn::Lt(next, first_low);
      WordVector words[4] = {
          next, hn::IfThenElse(carried, hn::Add(first_high, hn::Set(d, 1u)), first_high),
          hn::Set(d, dropout.step), hn::Set(d, dropout.site)};
      philox_lanes(words, dropout.key);
      for (int j = 0; j < 4; ++j) {
        const auto dropped = hn::RebindMask(Floats(), hn::Lt(words[j], drop_below));
        hn::Store(hn::IfThenZeroElse(dropped, scale), Floats(), kept + (s + j) * kQueryTile + i);
      }
    }
  }
}

inline void fill_kept(const AttentionDropout& dropout, const DropoutTile& tile, float* kept) {
  if (tile.index % 4 == 0 && tile.stride % 4 == 0) {
    fill_kept_in_lanes(dropout, tile, kept);
  } else {
    fill_kept_singly(dropout, tile, kept);
  }
}

#endif

}  // namespace bessemer::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
