// The lines of a stream, one at a time, in bounded memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/byte_stream.h"

namespace bessemer::data {

class LineReader {
 public:
  explicit LineReader(std::unique_ptr<ByteStream> stream);

  /// Appends the next line with its newline, which the last may lack; false at the end.
  bool append_next(std::string& text);

  /// Bytes of the file, as stored, that were read.
  std::uint64_t consumed() const { return stream_->consumed(); }

 private:
  std::unique_ptr<ByteStream> stream_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // what of it was read and not given
};

}  // namespace bessemer::data
