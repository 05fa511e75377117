// A trie over bytes: which pieces does a text begin with.
#pragma once

#include <cstdint>
#include <string_view>

#include "data/bpe.h"

namespace bessemer::data {

class PieceTrie {
 public:
  /// Room for pieces of so many bytes in all.
  explicit PieceTrie(std::size_t bytes = 0) : edges_(bytes) {}

  /// The value of a piece that is there already changes. Pieces are not empty.
  void insert(std::string_view piece, std::int32_t value) {
    std::int32_t node = 0;
    for (const char c : piece) {
      const std::int32_t byte = static_cast<unsigned char>(c);
      std::int32_t next = edges_.find(node, byte).result;
      if (next < 0) {
        next = static_cast<std::int32_t>(values_.size());
        values_.push_back(-1);
        edges_.insert(node, byte, {0, next});
      }
      node = next;
    }
    values_[static_cast<std::size_t>(node)] = value;
  }

  /// Calls `body(length, value)` for each piece that `text` begins with, shortest first.
  template <typename Body>
  void each_front(std::string_view text, const Body& body) const {
    std::int32_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      node = edges_.find(node, static_cast<unsigned char>(text[i])).result;
      if (node < 0) return;
      const std::int32_t value = values_[static_cast<std::size_t>(node)];
      if (value >= 0) body(i + 1, value);
    }
  }

 private:
  MergeTable edges_;                      // (node, byte) -> node
  std::vector<std::int32_t> values_{-1};  // by node; -1: no piece ends here
};

}  // namespace bessemer::data
