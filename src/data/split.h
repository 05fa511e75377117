// Which documents train and which validate.
//
// A document's side is a function of (seed, its index) alone, so a corpus that grows at its end
// keeps the split it had. Two corrections, where a side would be empty though there are two
// documents or more: the document with the smallest draw validates, the one with the largest
// trains. A corpus of one document is cut by tokens: its end validates.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "data/indexed_dataset.h"

namespace bessemer::data {

/// The documents of a set, ascending: a bit for each document of the dataset, made when needed.
class Members {
 public:
  explicit Members(std::uint32_t all) : count_(all) {}  // all of so many
  explicit Members(std::vector<std::uint64_t> bits);    // 64 documents a word

  std::uint64_t size() const { return count_; }
  std::uint32_t operator[](std::uint64_t i) const;
  std::vector<std::uint32_t> list() const;

 private:
  std::vector<std::uint64_t> words_;  // empty: all
  std::vector<std::uint64_t> ranks_;  // members in front of every kBlock words
  std::uint64_t count_ = 0;
};

/// Some documents of a dataset, as a rule: its size does not grow with their number. Of the one
/// document of a dataset of one, only the tokens [begin, end) count.
struct DocumentSet {
  enum class Side { none, all, train, validation };

  Side side = Side::none;
  std::uint32_t documents = 0;  // of the dataset
  std::uint64_t seed = 0;       // of the split
  double fraction = 0;          // that validates
  std::uint64_t begin = 0;
  std::uint64_t end = std::numeric_limits<std::uint64_t>::max();

  bool empty() const { return side == Side::none; }

  /// A function of all of the above: O(documents), on all threads.
  Members members() const;

  /// All of the above, as text to put in a digest.
  std::string description() const;
};

struct Split {
  DocumentSet train, validation;
};

/// What a document draws, uniform in [0, 1): it validates where that is below the fraction.
double split_draw(std::uint64_t seed, std::uint32_t document);

/// `fraction` in [0, 1) of the documents validate; 0: none. A log line warns where the validation
/// share in tokens is far from it (in datasets of up to a million documents). InputError for a
/// fraction out of range or an empty dataset.
Split split_documents(const IndexedDataset& dataset, std::uint64_t seed, double fraction);

/// All documents.
DocumentSet all_documents(const IndexedDataset& dataset);

}  // namespace bessemer::data
