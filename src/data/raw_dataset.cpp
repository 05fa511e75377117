#include "data/raw_dataset.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "data/sequence_writer.h"

namespace bessemer::data {
namespace {

constexpr std::uint32_t kTurnSite = 0x7124;  // sets these draws apart from all others

std::uint64_t turn_seed(const DatasetOptions& options, std::uint64_t epoch, std::uint32_t block) {
  const std::uint64_t seed = epoch_seed(options.seed, options.source, epoch);
  const PhiloxCounter words = CounterRng(seed, options.source, kTurnSite).block(block);
  return std::uint64_t{words[0]} << 32 | words[1];
}

class BlockStream final : public TokenStream {
 public:
  explicit BlockStream(const TokenizedBlock& block) : block_(block) {}

  std::uint64_t go_to(std::uint32_t id) override {
    first_ = block_.offsets[id];
    return block_.offsets[id + 1] - first_;
  }
  void read(std::uint64_t begin, std::span<std::int32_t> out) const override {
    const auto place = static_cast<std::ptrdiff_t>(first_ + begin);
    std::copy_n(block_.tokens.begin() + place, out.size(), out.begin());
  }
  void mask(std::uint64_t begin, std::span<std::int32_t> targets) const override {
    if (block_.trained.empty()) return;
    const auto trained = block_.trained.begin() + static_cast<std::ptrdiff_t>(first_ + begin);
    for (std::size_t t = 0; t < targets.size(); ++t) {
      if (trained[static_cast<std::ptrdiff_t>(t)] == 0) targets[t] = -1;
    }
  }

 private:
  const TokenizedBlock& block_;
  std::uint64_t first_ = 0;
};

}  // namespace

struct RawDataset::Found {
  std::shared_ptr<const TokenizedBlock> block;
  std::uint64_t sequence;  // of its layout
};

RawDataset::RawDataset(std::shared_ptr<const RawSource> source, BlockCounts::Access access)
    : source_(std::move(source)),
      options_(source_->options().dataset),
      counts_(source_->prefix().string() + ".counts", source_->digest(),
              source_->table().blocks.size(), access) {}

RawDataset::~RawDataset() = default;

/// The block whose turn it is at a place of an epoch.
std::uint64_t RawDataset::block_at(std::uint64_t epoch, std::uint64_t place) const {
  const std::uint64_t seed = epoch_seed(options_.seed, options_.source, epoch);
  return Permutation(counts_.blocks(), seed)(place);
}

/// Moves the end of what is known of epoch 0.
void RawDataset::extend() const {
  while (!whole()) {
    const std::uint64_t block = block_at(0, starts_.size() - 1);
    if (!counts_.knows(block)) return;
    starts_.push_back(starts_.back() + counts_.sequences(block));
  }
}

/// Tokenizes the next blocks of epoch 0, as many as there are threads. What is wrong with one that
/// was not asked for yet is told when it is.
void RawDataset::learn_more(std::unique_lock<std::mutex>& lock) const {
  const std::uint64_t first = starts_.size() - 1;
  // Never so many that they would drive each other out of the cache.
  const std::uint64_t fit = kCacheBytes / (4 * source_->block_bytes());
  const std::uint64_t wave = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(thread_count()),
                                                       1, std::max<std::uint64_t>(fit, 1));
  const std::uint64_t end = std::min<std::uint64_t>(first + wave, counts_.blocks());
  lock.unlock();
  {
    std::vector<std::jthread> others;
    for (std::uint64_t place = first + 1; place < end; ++place) {
      others.emplace_back([this, block = static_cast<std::uint32_t>(block_at(0, place))] {
        try {
          tokenized(block);
        } catch (const std::exception& error) {
          log::debug("block {}: {}", block, error.what());
        }
      });
    }
    tokenized(static_cast<std::uint32_t>(block_at(0, first)));
  }
  lock.lock();
  extend();
}

/// Of an epoch when all blocks are known.
const std::vector<std::uint64_t>& RawDataset::starts_of(std::uint64_t epoch) const {
  constexpr std::size_t kKept = 2;
  if (epoch == 0) return starts_;
  const auto found = later_.find(epoch);
  if (found != later_.end()) return found->second;
  if (later_.size() == kKept) later_.erase(later_.begin());
  std::vector<std::uint64_t> starts{0};
  const Permutation order(counts_.blocks(), epoch_seed(options_.seed, options_.source, epoch));
  for (std::uint64_t place = 0; place < counts_.blocks(); ++place) {
    starts.push_back(starts.back() + counts_.sequences(order(place)));
  }
  return later_.emplace(epoch, std::move(starts)).first->second;
}

RawDataset::At RawDataset::locate(std::uint64_t index) const {
  std::unique_lock lock(mutex_);
  const auto known = [&] {
    extend();
    return whole() || index < starts_.back();
  };
  for (int waves = 0; !known(); ++waves) {
    counts_.refresh();
    if (known()) break;
    if (waves == 1) {
      log::info("source {}: sequence {} was not reached before; tokenizing what is in front of it",
                source_->name(), index);
    }
    learn_more(lock);
  }
  At at;
  if (whole()) {
    require_input(starts_.back() > 0, "source {}: no document has two tokens; give more text",
                  source_->name());
    at.epoch = index / starts_.back();
    index %= starts_.back();
  }
  const std::vector<std::uint64_t>& starts = starts_of(at.epoch);
  const auto after = std::upper_bound(starts.begin(), starts.end(), index);
  const auto place = static_cast<std::uint64_t>(after - starts.begin()) - 1;
  at.block = static_cast<std::uint32_t>(block_at(at.epoch, place));
  at.turn = index - starts[place];
  return at;
}

RawDataset::Found RawDataset::find(std::uint64_t index) const {
  const At at = locate(index);
  std::shared_ptr<const TokenizedBlock> block = tokenized(at.block);
  const Permutation order(block->summary.sequences, turn_seed(options_, at.epoch, at.block));
  return {std::move(block), order(at.turn)};
}

/// From the cache, or made by this thread, or waited for where another makes it.
std::shared_ptr<const TokenizedBlock> RawDataset::tokenized(std::uint32_t block) const {
  std::promise<std::shared_ptr<const TokenizedBlock>> promise;
  Future future;
  bool mine = false;
  {
    const std::lock_guard lock(mutex_);
    Cached& cached = cache_[block];
    cached.used = ++uses_;
    mine = !cached.block.valid();
    if (mine) cached.block = promise.get_future().share();
    future = cached.block;
  }
  if (!mine) return future.get();
  try {
    promise.set_value(make(block));
  } catch (...) {
    const std::lock_guard lock(mutex_);
    cache_.erase(block);
    promise.set_exception(std::current_exception());
  }
  return future.get();
}

std::shared_ptr<const TokenizedBlock> RawDataset::make(std::uint32_t block) const {
  std::unique_ptr<DocumentEncoder> encoder;
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) encoder = std::move(idle_.back()), idle_.pop_back();
  }
  if (!encoder) encoder = std::make_unique<DocumentEncoder>(*source_->options().tokenizer);
  const std::shared_ptr<const TokenizedBlock> made = source_->tokenize(block, *encoder);
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(encoder));
  if (!counts_.knows(block)) {
    counts_.add(block, made->summary);
  } else {
    require_input(counts_.sequences(block) == made->summary.sequences,
                  "source {}: block {} gave {} sequences when it was read first, and {} now: its "
                  "file has changed; start again",
                  source_->name(), block, counts_.sequences(block), made->summary.sequences);
  }
  cached_bytes_ += cache_[block].bytes = std::max<std::size_t>(made->bytes(), 1);
  evict();
  return made;
}

/// Drops the blocks used longest ago until the others fit.
void RawDataset::evict() const {
  const auto is_made = [](const auto& entry) { return entry.second.bytes > 0; };
  while (cached_bytes_ > kCacheBytes && std::count_if(cache_.begin(), cache_.end(), is_made) > 1) {
    auto oldest = cache_.end();
    for (auto at = cache_.begin(); at != cache_.end(); ++at) {
      if (!is_made(*at)) continue;
      if (oldest == cache_.end() || at->second.used < oldest->second.used) oldest = at;
    }
    cached_bytes_ -= oldest->second.bytes;
    cache_.erase(oldest);
  }
}

std::int64_t RawDataset::read(std::uint64_t index, const SequenceView& out) const {
  const Found found = find(index);
  BlockStream stream(*found.block);
  return write_sequence(stream, *found.block->layout, found.sequence, options_.end_of_text, out);
}

void RawDataset::visit(std::uint64_t index, const OriginVisitor& visitor) const {
  const Found found = find(index);
  found.block->layout->visit(found.sequence, [&](const Part& part) {
    visitor({options_.source, found.block->records[part.stream], part.begin, part.count});
  });
}

std::uint64_t RawDataset::sequences() const {
  std::unique_lock lock(mutex_);
  extend();
  if (!whole()) {
    log::info("source {}: tokenizing all of it once, to know how many sequences it has",
              source_->name());
  }
  while (!whole()) learn_more(lock);
  return starts_.back();
}

void RawDataset::forget_blocks() const {
  const std::lock_guard lock(mutex_);
  std::erase_if(cache_, [](const auto& entry) { return entry.second.bytes > 0; });
  cached_bytes_ = 0;
  idle_.clear();
}

BlockTotals RawDataset::known() const {
  const std::lock_guard lock(mutex_);
  return counts_.totals();
}

}  // namespace bessemer::data
