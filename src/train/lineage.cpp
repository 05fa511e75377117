#include "train/lineage.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "data/manifest.h"
#include "data/places.h"

namespace bessemer::train {
namespace {

// Where the documents of a source are.
class SourceFiles {
 public:
  explicit SourceFiles(const TrainingSource& source) : file_(data::bin_path(source.prefix)) {
    if (!std::filesystem::exists(data::places_path(source.prefix))) return;
    data::Manifest manifest = data::read_manifest(source.prefix.parent_path());
    const data::ManifestSource* entry = manifest.find(source.prefix.filename().string());
    if (entry == nullptr) return;
    files_ = entry->files;
    places_ = std::make_unique<data::Places>(source.prefix);
  }

  void locate(ReadPart& part) const {
    part.file = file_.string();
    if (!places_) return;
    const data::Place place = (*places_)(part.document);
    require_input(place.file < files_.size(), "{}: document {} is in file {} of {}", file_.string(),
                  part.document, place.file, files_.size());
    part.file = files_[place.file];
    part.file_offset = place.offset;
  }

 private:
  std::filesystem::path file_;
  std::vector<std::string> files_;
  std::unique_ptr<data::Places> places_;
};

class Teller {
 public:
  explicit Teller(const Corpus& corpus) : corpus_(corpus) {
    for (const TrainingSource& source : corpus.sources) files_.emplace_back(source);
  }

  ReadPart tell(const data::Origin& origin) const {
    ReadPart part;
    part.tokens = origin.count;
    part.source = corpus_.sources[origin.source].name;
    part.document = origin.document;
    files_[origin.source].locate(part);
    part.byte_begin = bytes_of(origin, 0, origin.begin);
    part.byte_end = part.byte_begin + bytes_of(origin, origin.begin, origin.count);
    return part;
  }

 private:
  // Of the text that tokens [begin, begin + count) of the document say.
  std::uint64_t bytes_of(const data::Origin& origin, std::uint64_t begin,
                         std::uint64_t count) const {
    const data::IndexedDataset& tokens = *corpus_.sources[origin.source].tokens;
    const std::uint64_t stored = tokens.length(origin.document);
    std::vector<std::int32_t> ids(std::min(begin + count, stored) - std::min(begin, stored));
    tokens.read(origin.document, begin, ids);
    const std::int32_t end_of_text = corpus_.tokenizer->end_of_text();
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const bool ends = begin + i + 1 == stored && ids[i] == end_of_text;
      if (!ends) bytes += corpus_.tokenizer->token_bytes(ids[i]).size();
    }
    return bytes;
  }

  const Corpus& corpus_;
  std::vector<SourceFiles> files_;
};

}  // namespace

std::vector<ReadPart> parts_of_step(const config::RunConfig& config, const Corpus& corpus,
                                    std::int64_t step) {
  const std::int64_t sequences = *config.train.global_batch_size;
  const auto first = static_cast<std::uint64_t>((step - 1) * sequences);
  const std::uint64_t all = corpus.training->schedule().sequences();
  require_input(step >= 1 && first + static_cast<std::uint64_t>(sequences) <= all,
                "step {}: the data ends after step {}", step,
                all / static_cast<std::uint64_t>(sequences));
  const Teller teller(corpus);
  std::vector<ReadPart> parts;
  for (std::int64_t s = 0; s < sequences; ++s) {
    std::int64_t offset = 0;
    corpus.training->visit(first + static_cast<std::uint64_t>(s), [&](const data::Origin& origin) {
      ReadPart part = teller.tell(origin);
      part.sequence = s;
      part.offset = offset;
      offset += part.tokens;
      parts.push_back(std::move(part));
    });
  }
  return parts;
}

}  // namespace bessemer::train
