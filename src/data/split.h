// Which documents train and which validate.
//
// A document's side is a function of (seed, its index) alone, so a corpus that grows at its end
// keeps the split it had. Two corrections, where a side would be empty though there are two
// documents or more: the document with the smallest draw validates, the one with the largest
// trains. A corpus of one document is cut by tokens: its end validates.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "data/indexed_dataset.h"

namespace bessemer::data {

/// Documents of a dataset, ascending. Of the one document of a set of one, only the tokens
/// [begin, end) count.
struct DocumentSet {
  std::vector<std::uint32_t> documents;
  std::uint64_t begin = 0;
  std::uint64_t end = std::numeric_limits<std::uint64_t>::max();
};

struct Split {
  DocumentSet train, validation;
};

/// What a document draws, uniform in [0, 1): it validates where that is below the fraction.
double split_draw(std::uint64_t seed, std::uint32_t document);

/// `fraction` in [0, 1) of the documents validate; 0: none. A log line warns where the validation
/// share in tokens is far from it. InputError for a fraction out of range or an empty dataset.
Split split_documents(const IndexedDataset& dataset, std::uint64_t seed, double fraction);

/// All documents.
DocumentSet all_documents(const IndexedDataset& dataset);

}  // namespace bessemer::data
