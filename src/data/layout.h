// Which tokens of which documents make each sequence.
//
// A document's stream is its tokens and, where they do not hold it already, an end-of-text token. A
// layout sees the lengths of the streams only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace bessemer::data {

/// Tokens [begin, begin + count) of a stream: what stands at positions of a sequence. What is
/// predicted there is one token further; behind the stream's last token, nothing.
struct Part {
  std::uint64_t begin = 0;
  std::uint32_t stream = 0;
  std::uint32_t count = 0;
};
using PartVisitor = std::function<void(const Part&)>;

/// Any number of threads.
class Layout {
 public:
  virtual ~Layout() = default;
  virtual std::uint64_t sequences() const = 0;

  /// The parts of a sequence, none empty, in order; what they leave of it is padding.
  virtual void visit(std::uint64_t sequence, const PartVisitor& visitor) const = 0;

  /// Positions of all sequences without a token.
  virtual std::uint64_t padding() const = 0;
};

/// Tokens behind the last whole sequence: `drop` leaves them out (unless there is no whole one),
/// `pad` gives a last sequence filled up with end-of-text tokens that are not predicted.
enum class Tail { drop, pad };

/// Windows of all streams end to end: sequence w is [w·T, (w+1)·T). Streams are cut where a window
/// ends, and the last token of each stream takes a position that predicts nothing.
///
/// `offsets` are the streams' places end to end, the end of the last included; they must stay where
/// they are.
std::unique_ptr<const Layout> concatenate(std::span<const std::uint64_t> offsets,
                                          std::int64_t length, Tail tail);

/// Whole streams, best fit over a look-ahead window (Ding et al., "Fewer truncations improve
/// language modeling", ICML 2024, with a bounded window): streams come in an order drawn by `seed`;
/// each sequence begins with the one that has waited longest and takes the longest of the window
/// that fits, until none does. A stream takes a position less than it has tokens, since behind its
/// last there is nothing to predict; one of more than T positions is cut every T.
///
/// Made at once: O(log window) a stream, 16 bytes a part.
std::unique_ptr<const Layout> pack_best_fit(std::span<const std::uint64_t> offsets,
                                            std::int64_t length, std::uint64_t seed,
                                            std::size_t window = 4096);

}  // namespace bessemer::data
