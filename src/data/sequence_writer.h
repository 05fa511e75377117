// Writes the tokens of a sequence of a layout, with their targets, positions and visibility.
#pragma once

#include <cstdint>
#include <span>

#include "data/dataset.h"
#include "data/layout.h"

namespace bessemer::data {

/// The streams of a layout, with the end-of-text tokens behind documents.
class TokenStreams {
 public:
  virtual ~TokenStreams() = default;
  virtual std::uint64_t length(std::uint32_t stream) const = 0;

  /// Tokens [begin, begin + out.size()) of a stream.
  virtual void read(std::uint32_t stream, std::uint64_t begin,
                    std::span<std::int32_t> out) const = 0;

  /// Sets to -1 what is not trained of `targets`, tokens [begin, begin + size) of a stream.
  virtual void mask(std::uint32_t stream, std::uint64_t begin,
                    std::span<std::int32_t> targets) const = 0;
};

/// Returns how many targets are not -1. What the parts leave of the sequence is padding.
std::int64_t write_sequence(const TokenStreams& streams, const Layout& layout,
                            std::uint64_t sequence, std::int32_t end_of_text,
                            const SequenceView& out);

}  // namespace bessemer::data
