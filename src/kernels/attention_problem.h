// What the forward and the backward attention kernel share that is not arithmetic: the shape of the
// problem, which keys a tile of queries sees, scratch slices and the division of work.
//
// Both kernels follow FlashAttention (Dao et al., NeurIPS 2022; Dao, 2023): tiles of kQueryTile
// queries of one head meet blocks of kKeyBlock keys; the scores of a whole sequence never exist.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "base/parallel.h"
#include "base/rounding.h"
#include "kernels/dropout_mask.h"
#include "kernels/kernel.h"

namespace bessemer::kernels {

constexpr std::int64_t kQueryTile = 64;
constexpr std::int64_t kKeyBlock = 64;
/// Visibility is decided for strips of this many queries: the widest vector of floats. Rows of
/// packed tiles are padded to a multiple of it.
constexpr std::int64_t kStrip = 16;
constexpr std::int64_t kStrips = kQueryTile / kStrip;

/// Shapes: q, o [batch, queries, heads, head_size]; k, v [batch, keys, key_heads, head_size];
/// lse [batch, heads, queries]; visibility [batch, queries, 2].
struct AttentionProblem {
  std::int64_t batch, queries, keys, heads, key_heads, head_size;
  DType dtype;
  float scale;
  bool causal;
  std::int64_t window;  // 0: none
  double dropout;
  std::uint32_t site;
  int workers;  // the most threads that run at once, each with a slice of scratch

  std::int64_t padded_head_size() const { return round_up(head_size, kStrip); }
  std::int64_t heads_per_key_head() const { return heads / key_heads; }
  std::int64_t query_tiles() const { return divide_up(queries, kQueryTile); }

  // Offsets, in elements, of the row of head `h` at token `t`.
  std::int64_t query_row(std::int64_t b, std::int64_t t, std::int64_t h) const {
    return ((b * queries + t) * heads + h) * head_size;
  }
  std::int64_t key_row(std::int64_t b, std::int64_t s, std::int64_t h) const {
    return ((b * keys + s) * key_heads + h) * head_size;
  }
};

/// Reads the problem; `q` and `k` are the indices of these operands, `optionals` that of
/// visibility, which counter follows. Declines dtypes, head sizes and lengths that the kernels do
/// not take.
std::variant<AttentionProblem, Declined> read_attention(const KernelRequest& request, std::size_t q,
                                                        std::size_t k, std::size_t optionals);

/// The dropout mask of kernels/dropout_mask.h with its parts laid open, for vector code.
struct AttentionDropout {
  PhiloxKey key;
  std::uint32_t step, site;
  std::uint32_t drop_below;
  float scale;  // of what is kept

  PhiloxCounter block(std::uint64_t i) const {
    return philox({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(i >> 32), step, site},
                  key);
  }
};

/// Nothing where the problem has no dropout. `counter`: int64[3], see docs/ops.md.
std::optional<AttentionDropout> read_dropout(const AttentionProblem& problem,
                                             const std::int64_t* counter);

/// Which keys the queries of one tile see. Query i sees keys [low[i], high[i]); one that sees none,
/// or is beyond the tile, has low = keys and high = 0, so that it never widens a union.
struct TileVisibility {
  alignas(64) std::int32_t low[kQueryTile];
  alignas(64) std::int32_t high[kQueryTile];
  std::int32_t strip_low[kStrips], strip_high[kStrips];  // union over each strip
  std::int32_t any_low, any_high;                        // union over the tile
  std::int32_t all_low, all_high;                        // intersection over the tile's strips
  std::int64_t strips;                                   // that hold a query

  bool sees_any(std::int64_t begin, std::int64_t end) const {
    return any_low < end && any_high > begin;
  }
  bool sees_all(std::int64_t begin, std::int64_t end) const {
    return all_low <= begin && all_high >= end;
  }

  struct Range {
    std::int64_t begin, end;
  };
  /// Strips [begin, end) outside which no query sees a key of [first, last); empty: {0, 0}.
  Range strips_seeing(std::int64_t first, std::int64_t last) const;
  /// Which of the `count` keys from `first_key` strip `strip` may see, counted from `first_key`.
  Range keys_seen_by_strip(std::int64_t strip, std::int64_t first_key, std::int64_t count) const;
  /// Keys of [begin, end) outside which none of the queries [first, last) of the tile sees a key.
  Range keys_seen_by(std::int64_t first, std::int64_t last, std::int64_t begin,
                     std::int64_t end) const;
};

/// For queries [first, first + count) of sequence `b`, count <= kQueryTile. `visibility` may be
/// null.
TileVisibility see_keys(const AttentionProblem& problem, const std::int32_t* visibility,
                        std::int64_t b, std::int64_t first, std::int64_t count);

/// Hands out pieces of one worker's scratch, each aligned to 64 bytes. Starting from null it only
/// counts, which is how scratch_bytes comes to agree with what run uses.
class ScratchSlice {
 public:
  explicit ScratchSlice(float* begin) : begin_(begin) {}
  float* take(std::int64_t floats) {
    float* piece = begin_ == nullptr ? nullptr : begin_ + used_;
    used_ += round_up(floats, 16);
    return piece;
  }
  std::int64_t used() const { return used_; }

 private:
  float* begin_;
  std::int64_t used_ = 0;
};

/// Calls body(item, worker) for each item of [0, n), handed out in order to at most `workers`
/// threads; `worker` < `workers` whatever the size of the thread team, so it may index scratch.
template <typename Body>
void for_each_item(int workers, std::int64_t n, const Body& body) {
  std::atomic<std::int64_t> next{0};
  parallel_for(std::min<std::int64_t>(workers, n), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t worker = begin; worker < end; ++worker) {
      for (std::int64_t item = next++; item < n; item = next++) body(item, worker);
    }
  });
}

}  // namespace bessemer::kernels
