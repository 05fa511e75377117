#include "train/machine.h"
#include "train/lineage.h"

#include <algorithm>
#include <memory>
#include <span>

#include "base/error.h"
#include "data/manifest.h"
#include "data/places.h"
#include "models/architecture.h"
#include "train/compile.h"

namespace bessemer::train {
namespace {

struct FirstTokens {
  std::vector<std::int32_t> ids;
  bool all = false;  // the document has no others
};

// The documents of a source.
class Documents {
 public:
  virtual ~Documents() = default;

  /// Puts file and place of `part.document` in `part`, and gives its first tokens as they are
  /// stored, `count` of them or all there are.
  virtual FirstTokens find(std::uint64_t count, ReadPart& part) const = 0;
};

class TokenFiles final : public Documents {
 public:
  explicit TokenFiles(const TrainingSource& source)
      : tokens_(source.tokens), file_(data::bin_path(source.prefix)) {
    if (!std::filesystem::exists(data::places_path(source.prefix))) return;
    data::Manifest manifest = data::read_manifest(source.prefix.parent_path());
    const data::ManifestSource* entry = manifest.find(source.prefix.filename().string());
    if (entry == nullptr) return;
    files_ = entry->files;
    places_ = std::make_unique<data::Places>(source.prefix);
  }

  FirstTokens find(std::uint64_t count, ReadPart& part) const override {
    const std::uint64_t stored = tokens_->length(part.document);
    FirstTokens first{std::vector<std::int32_t>(std::min(count, stored)), count >= stored};
    tokens_->read(part.document, 0, first.ids);
    part.file = file_.string();
    if (!places_) return first;
    const data::Place place = (*places_)(part.document);
    require_input(place.file < files_.size(), "{}: document {} is in file {} of {}", file_.string(),
                  part.document, place.file, files_.size());
    part.file = files_[place.file];
    part.file_offset = place.offset;
    return first;
  }

 private:
  std::shared_ptr<const data::IndexedDataset> tokens_;
  std::filesystem::path file_;
  std::vector<std::string> files_;
  std::unique_ptr<data::Places> places_;
};

class RawDocuments final : public Documents {
 public:
  explicit RawDocuments(const TrainingSource& source) : raw_(source.raw) {}

  FirstTokens find(std::uint64_t count, ReadPart& part) const override {
    data::RawSource::Document document = raw_->source().document(part.document);
    part.file = std::move(document.file);
    part.file_offset = document.offset;
    FirstTokens first{std::move(document.tokens.ids), true};
    first.all = count >= first.ids.size();
    if (!first.all) first.ids.resize(count);
    return first;
  }

 private:
  std::shared_ptr<const data::RawDataset> raw_;
};

class Teller {
 public:
  explicit Teller(const Corpus& corpus) : corpus_(corpus) {
    for (const TrainingSource& source : corpus.sources) {
      if (source.raw) {
        documents_.push_back(std::make_unique<RawDocuments>(source));
      } else {
        documents_.push_back(std::make_unique<TokenFiles>(source));
      }
    }
  }

  ReadPart tell(const data::Origin& origin) const {
    ReadPart part;
    part.tokens = origin.count;
    part.source = corpus_.sources[origin.source].name;
    part.document = origin.document;
    auto [ids, all] = documents_[origin.source]->find(origin.begin + origin.count, part);
    // The end-of-text token behind the document says nothing.
    if (all && !ids.empty() && ids.back() == corpus_.tokenizer->end_of_text()) ids.pop_back();
    const std::size_t begin = std::min<std::size_t>(origin.begin, ids.size());
    part.byte_begin = bytes_of(std::span(ids).first(begin));
    part.byte_end = part.byte_begin + bytes_of(std::span(ids).subspan(begin));
    return part;
  }

 private:
  // Of the text that the tokens say.
  std::uint64_t bytes_of(std::span<const std::int32_t> ids) const {
    std::uint64_t bytes = 0;
    for (const std::int32_t id : ids) bytes += corpus_.tokenizer->token_bytes(id).size();
    return bytes;
  }

  const Corpus& corpus_;
  std::vector<std::unique_ptr<Documents>> documents_;
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

// A run that has started says what a token costs; of another, what this machine would measure.
config::RunConfig settled(config::RunConfig config, const Corpus& corpus) {
  if (config.data.token_pairs) return config;
  const models::Architecture architecture =
      models::resolve(config.model, corpus.vocabulary, config.data.sequence_length);
  config.data.token_pairs = token_pairs(config, architecture, known_machine(config.run.device));
  return config;
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
  data::Planner planner(corpus.training, planner_options(settled(config, corpus), rank));
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
