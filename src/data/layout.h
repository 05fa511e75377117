// Which tokens of which documents make each sequence.
//
// A document's stream is its tokens and, where they do not hold it already, an end-of-text token. A
// layout is made from the lengths of the streams only, part by part: where the parts are kept, in
// memory or in a file (layout_file.h), is another matter.
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

/// What a layout is made from. Ids ascend.
class Streams {
 public:
  struct Stream {
    std::uint32_t id = 0;
    std::uint64_t tokens = 0;
  };
  virtual ~Streams() = default;
  virtual std::uint64_t size() const = 0;
  virtual Stream at(std::uint64_t i) const = 0;

  /// All of them in order; faster than one by one.
  virtual void visit(const std::function<void(const Stream&)>& visitor) const = 0;
};

/// Takes a layout as it is made.
class PartSink {
 public:
  virtual ~PartSink() = default;
  virtual void begin_sequence() = 0;
  virtual void add(const Part& part) = 0;
};

enum class Packing { concatenate, best_fit };

/// Tokens behind the last whole sequence: `drop` leaves them out (unless there is no whole one),
/// `pad` gives a last sequence filled up with end-of-text tokens that are not predicted.
enum class Tail { drop, pad };

struct LayoutOptions {
  Packing packing = Packing::concatenate;
  std::int64_t length = 0;    // of a sequence
  Tail tail = Tail::drop;     // of `concatenate`
  std::uint64_t seed = 0;     // of `best_fit`
  std::size_t window = 4096;  // of `best_fit`: pieces that wait
};

/// Makes the layout, in memory that does not grow with the number of streams; returns the tokens of
/// all streams.
///
/// concatenate  Windows of all streams end to end: sequence w is [w·T, (w+1)·T). Streams are cut
///              where a window ends, and the last token of each stream takes a position that
///              predicts nothing.
/// best_fit     Whole streams, best fit over a look-ahead window (Ding et al., "Fewer truncations
///              improve language modeling", ICML 2024, with a bounded window): streams come in an
///              order drawn by `seed`; each sequence begins with the one that has waited longest
///              and takes the longest of the window that fits, until none does. A stream takes a
///              position less than it has tokens, since behind its last there is nothing to
///              predict; one of more than T positions is cut every T. O(log window) a stream.
std::uint64_t lay_out(const Streams& streams, const LayoutOptions& options, PartSink& sink);

/// Any number of threads.
class Layout {
 public:
  virtual ~Layout() = default;
  virtual std::uint64_t sequences() const = 0;

  /// The parts of a sequence, none empty, in order; what they leave of it is padding.
  virtual void visit(std::uint64_t sequence, const PartVisitor& visitor) const = 0;

  /// Positions of all sequences without a token.
  virtual std::uint64_t padding() const = 0;

  /// Of all streams.
  virtual std::uint64_t tokens() const = 0;
};

/// A layout in memory: 16 bytes a part, 8 a sequence.
std::unique_ptr<const Layout> make_layout(const Streams& streams, const LayoutOptions& options);

}  // namespace bessemer::data
