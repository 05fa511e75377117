// Writes the tokens of a sequence of a layout, with their targets, positions and visibility.
#pragma once

#include <cstdint>
#include <span>

#include "data/dataset.h"
#include "data/layout.h"

namespace bessemer::data {

/// The streams of a layout, one at a time, with the end-of-text tokens behind documents. For one
/// thread.
class TokenStream {
 public:
  virtual ~TokenStream() = default;

  /// Makes it that of this id, and returns how many tokens it has.
  virtual std::uint64_t go_to(std::uint32_t id) = 0;

  /// Its tokens [begin, begin + out.size()).
  virtual void read(std::uint64_t begin, std::span<std::int32_t> out) const = 0;

  /// Sets to -1 what is not trained of `targets`, its tokens [begin, begin + size).
  virtual void mask(std::uint64_t begin, std::span<std::int32_t> targets) const = 0;
};

/// Returns how many targets are not -1. What the parts leave of the sequence is padding.
std::int64_t write_sequence(TokenStream& stream, const Layout& layout, std::uint64_t sequence,
                            std::int32_t end_of_text, const SequenceView& out);

}  // namespace bessemer::data
