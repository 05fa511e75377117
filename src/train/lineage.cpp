#include "train/lineage.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "data/manifest.h"
#include "data/places.h"
#include "models/architecture.h"

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

// Parts of sequences, one after the other.
class PartList {
 public:
  explicit PartList(const Corpus& corpus) : corpus_(corpus), teller_(corpus) {}

  /// `number` of the step is sequence `index` of the mixture.
  void add(std::int64_t number, std::uint64_t index) {
    std::int64_t offset = 0;
    corpus_.training->visit(index, [&](const data::Origin& origin) {
      ReadPart part = teller_.tell(origin);
      part.sequence = number;
      part.offset = offset;
      offset += part.tokens;
      parts_.push_back(std::move(part));
    });
  }
  std::vector<ReadPart> take() { return std::move(parts_); }

 private:
  const Corpus& corpus_;
  Teller teller_;
  std::vector<ReadPart> parts_;
};

std::uint64_t first_of_step(const config::RunConfig& config, const Corpus& corpus,
                            std::int64_t step) {
  const auto sequences = static_cast<std::uint64_t>(*config.train.global_batch_size);
  const std::uint64_t steps = corpus.training->schedule().sequences() / sequences;
  require_input(step >= 1 && static_cast<std::uint64_t>(step) <= steps,
                "step {}: the data ends after step {}", step, steps);
  return static_cast<std::uint64_t>(step - 1) * sequences;
}

}  // namespace

std::vector<ReadPart> parts_of_step(const config::RunConfig& config, const Corpus& corpus,
                                    std::int64_t step) {
  const std::uint64_t first = first_of_step(config, corpus, step);
  PartList parts(corpus);
  for (std::int64_t s = 0; s < *config.train.global_batch_size; ++s) {
    parts.add(s, first + static_cast<std::uint64_t>(s));
  }
  return parts.take();
}

std::vector<ReadPart> parts_of_rank(const config::RunConfig& config, const Corpus& corpus,
                                    std::int64_t step, const RankShape& rank) {
  const std::uint64_t first = first_of_step(config, corpus, step);
  const models::Architecture architecture =
      models::resolve(config.model, corpus.vocabulary, config.data.sequence_length);
  data::Planner planner(corpus.training, planner_options(config, architecture, rank));
  planner.plan(first);
  PartList parts(corpus);
  for (std::int64_t m = 0; m < planner.shape().micro_batches; ++m) {
    for (std::int64_t b = 0; b < planner.shape().micro_batch_size; ++b) {
      const std::uint64_t sequence = planner.row(rank.rank, m, b).sequence;
      parts.add(static_cast<std::int64_t>(sequence - first), sequence);
    }
  }
  return parts.take();
}

}  // namespace bessemer::train
