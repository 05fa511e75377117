#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"
#include "data/loader.h"
#include "data/mixture.h"
#include "data/data_directory.h"

namespace bessemer::data {
namespace {

using Ids = std::vector<std::int32_t>;
constexpr std::int32_t kEnd = 0;

struct Sequence {
  explicit Sequence(std::int64_t length) {
    const auto n = static_cast<std::size_t>(length);
    tokens.resize(n), targets.resize(n), positions.resize(n), visibility.resize(2 * n);
  }
  SequenceView view() { return {tokens, targets, positions, visibility}; }
  Ids tokens, targets, positions, visibility;
};

Sequence read(const SequenceSource& source, std::uint64_t index) {
  Sequence sequence(source.sequence_length());
  std::fill(sequence.tokens.begin(), sequence.tokens.end(), -77);
  const std::int64_t valid = source.read(index, sequence.view());
  const auto ignored = std::count(sequence.targets.begin(), sequence.targets.end(), -1);
  EXPECT_EQ(valid, source.sequence_length() - ignored);
  return sequence;
}

class DatasetTest : public testing::Test {
 protected:
  std::shared_ptr<const IndexedDataset> tokens(const std::vector<Ids>& documents) {
    const auto prefix = directory_.path() / std::to_string(files_++);
    IndexedDatasetWriter writer(prefix, TokenType::int32);
    for (const Ids& document : documents) {
      writer.append(document);
      writer.end_document();
    }
    writer.finish();
    return std::make_shared<const IndexedDataset>(IndexedDataset::open(prefix));
  }

  static DatasetOptions options(std::int64_t length) {
    DatasetOptions made;
    made.sequence_length = length;
    made.end_of_text = kEnd;
    made.vocabulary = 1000;
    return made;
  }

  std::shared_ptr<const Dataset> dataset(const std::vector<Ids>& documents, DatasetOptions made) {
    auto data = tokens(documents);
    auto set = all_documents(*data);
    return std::make_shared<const Dataset>(data, std::move(set), made);
  }

  /// Documents of 1 to 40 tokens.
  static std::vector<Ids> random_documents(std::uint64_t seed, std::size_t count) {
    const CounterRng rng(seed, 0, 9);
    std::vector<Ids> documents(count);
    for (std::size_t d = 0; d < count; ++d) {
      documents[d].resize(1 + rng.word(1000000 + d) % 40);
      for (std::size_t t = 0; t < documents[d].size(); ++t) {
        documents[d][t] = 1 + static_cast<std::int32_t>(rng.word(d * 64 + t) % 999);
      }
    }
    return documents;
  }

  DataDirectory directory_;
  int files_ = 0;
};

TEST_F(DatasetTest, PacksDocumentsWithTheirBoundaries) {
  DatasetOptions made = options(6);
  made.order = Order::corpus;
  // Stream: 1 2 3 E 4 E 5 6 7 8 9 E 1 E
  const auto data = dataset({{1, 2, 3}, {4}, {}, {5, 6, 7, 8, 9}, {1}}, made);
  EXPECT_EQ(data->tokens(), 14u);
  ASSERT_EQ(data->sequences(), 2u);
  const Sequence first = read(*data, 0);
  EXPECT_EQ(first.tokens, (Ids{1, 2, 3, kEnd, 4, kEnd}));
  EXPECT_EQ(first.targets, (Ids{2, 3, kEnd, -1, kEnd, -1}));
  EXPECT_EQ(first.positions, (Ids{0, 1, 2, 3, 0, 1}));
  EXPECT_EQ(first.visibility, (Ids{0, 4, 0, 4, 0, 4, 0, 4, 4, 6, 4, 6}));
  const Sequence second = read(*data, 1);
  EXPECT_EQ(second.tokens, (Ids{5, 6, 7, 8, 9, kEnd}));
  EXPECT_EQ(second.targets, (Ids{6, 7, 8, 9, kEnd, -1}));
  EXPECT_EQ(second.positions, (Ids{0, 1, 2, 3, 4, 5}));
}

TEST_F(DatasetTest, PadsTheTailWhereAsked) {
  DatasetOptions made = options(4);
  made.order = Order::corpus;
  made.tail = Tail::pad;
  const auto data = dataset({{1, 2, 3, 4, 5}}, made);  // 1 2 3 4 5 E
  ASSERT_EQ(data->sequences(), 2u);
  EXPECT_EQ(read(*data, 0).targets, (Ids{2, 3, 4, 5}));
  const Sequence last = read(*data, 1);
  EXPECT_EQ(last.tokens, (Ids{5, kEnd, kEnd, kEnd}));
  EXPECT_EQ(last.targets, (Ids{kEnd, -1, -1, -1}));
  EXPECT_EQ(last.positions, (Ids{0, 1, 0, 1}));
  EXPECT_EQ(last.visibility, (Ids{0, 2, 0, 2, 2, 4, 2, 4}));
}

TEST_F(DatasetTest, ACorpusShorterThanASequenceIsOnePaddedSequence) {
  const auto data = dataset({{5, 6}}, options(8));
  ASSERT_EQ(data->sequences(), 1u);
  EXPECT_EQ(read(*data, 3).targets, (Ids{6, kEnd, -1, -1, -1, -1, -1, -1}));
  EXPECT_THROW(dataset({{}}, options(8)), InputError);
}

TEST_F(DatasetTest, StoredEndOfTextTokensAreNotDoubled) {
  const auto stored = dataset({{1, 2, kEnd}, {3, kEnd}}, options(2));
  EXPECT_EQ(stored->tokens(), 5u);
  const auto mixed = dataset({{1, 2, kEnd}, {3}}, options(2));
  EXPECT_EQ(mixed->tokens(), 6u);
}

// Every prediction of the stream is made once an epoch, whatever the documents.
TEST_F(DatasetTest, EveryTokenIsPredictedOnce) {
  const std::pair<Packing, Tail> kWays[] = {{Packing::concatenate, Tail::pad},
                                            {Packing::concatenate, Tail::drop},
                                            {Packing::best_fit, Tail::drop}};
  for (const auto& [packing, tail] : kWays) {
    DatasetOptions made = options(16);
    made.packing = packing;
    made.tail = tail;
    const std::vector<Ids> documents = random_documents(4, 300);
    std::map<std::pair<std::int32_t, std::int32_t>, int> wanted, seen;
    std::size_t position = 0, limit = SIZE_MAX;
    const auto data = dataset(documents, made);
    const bool drops = packing == Packing::concatenate && tail == Tail::drop;
    if (drops) limit = data->sequences() * 16;
    for (const Ids& document : documents) {
      for (std::size_t t = 0; t < document.size(); ++t, ++position) {
        const std::int32_t next = t + 1 < document.size() ? document[t + 1] : kEnd;
        if (position < limit) ++wanted[{document[t], next}];
      }
      ++position;
    }
    for (std::uint64_t n = 0; n < data->sequences(); ++n) {
      const Sequence sequence = read(*data, n);
      for (std::size_t t = 0; t < 16; ++t) {
        const auto start = sequence.visibility[2 * t], end = sequence.visibility[2 * t + 1];
        ASSERT_TRUE(start <= static_cast<int>(t) && static_cast<int>(t) < end && end <= 16);
        ASSERT_EQ(sequence.positions[t], static_cast<int>(t) - start);
        if (sequence.targets[t] >= 0) ++seen[{sequence.tokens[t], sequence.targets[t]}];
      }
    }
    EXPECT_EQ(seen, wanted);
  }
}

// What a sequence is said to be made of is what it reads.
TEST_F(DatasetTest, VisitsWhatItReads) {
  const std::vector<Ids> documents = random_documents(6, 200);
  for (const Packing packing : {Packing::concatenate, Packing::best_fit}) {
    DatasetOptions made = options(32);
    made.packing = packing;
    made.source = 3;
    const auto data = dataset(documents, made);
    for (std::uint64_t n = 0; n < data->sequences(); ++n) {
      Ids tokens;
      data->visit(n, [&](const Origin& origin) {
        EXPECT_EQ(origin.source, 3u);
        for (std::uint64_t t = origin.begin; t < origin.begin + origin.count; ++t) {
          const Ids& document = documents[origin.document];
          tokens.push_back(t < document.size() ? document[t] : kEnd);
        }
      });
      tokens.resize(32, kEnd);
      EXPECT_EQ(read(*data, n).tokens, tokens);
    }
  }
}

TEST_F(DatasetTest, EpochsArePermutationsThatDiffer) {
  DatasetOptions made = options(4);
  made.seed = 11;
  const auto data = dataset(random_documents(1, 100), made);
  std::vector<std::vector<std::uint64_t>> epochs(2);
  for (std::uint64_t n = 0; n < 2 * data->sequences(); ++n) {
    epochs[n / data->sequences()].push_back(data->permuted(n));
  }
  EXPECT_NE(epochs[0], epochs[1]);
  for (const auto& epoch : epochs) {
    EXPECT_EQ(std::set<std::uint64_t>(epoch.begin(), epoch.end()).size(), data->sequences());
  }
  made.source = 1;
  EXPECT_NE(dataset(random_documents(1, 100), made)->permuted(3), data->permuted(3));
}

TEST_F(DatasetTest, AnIdOutsideTheVocabularyNamesFileAndDocument) {
  const auto data = dataset({{1, 2}, {3, 1000}}, options(4));
  const std::string message = input_error_of([&] { read(*data, 0); });
  EXPECT_NE(message.find("0.bin: document 1: token 1 is 1000"), std::string::npos) << message;
}

TEST_F(DatasetTest, SplitsByDocument) {
  const auto data = tokens(random_documents(2, 2000));
  const Split split = split_documents(*data, 5, 0.1);
  EXPECT_NEAR(static_cast<double>(split.validation.members().size()), 200, 5 * std::sqrt(180.0));
  const auto train = split.train.members().list(), validation = split.validation.members().list();
  std::set<std::uint32_t> all(train.begin(), train.end());
  all.insert(validation.begin(), validation.end());
  EXPECT_EQ(all.size(), 2000u);
  EXPECT_EQ(split.train.members().size() + split.validation.members().size(), 2000u);
  // A corpus that grows keeps the sides that were given.
  const auto fewer = tokens(random_documents(2, 1500));
  auto expected = validation;
  std::erase_if(expected, [](std::uint32_t d) { return d >= 1500; });
  EXPECT_EQ(split_documents(*fewer, 5, 0.1).validation.members().list(), expected);
}

TEST_F(DatasetTest, NoSideIsEmptyWithTwoDocuments) {
  const auto data = tokens({{1, 2}, {3, 4}});
  for (const double fraction : {1e-9, 0.5, 1 - 1e-9}) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const Split split = split_documents(*data, seed, fraction);
      EXPECT_EQ(split.train.members().size(), 1u);
      EXPECT_EQ(split.validation.members().size(), 1u);
    }
  }
  EXPECT_TRUE(split_documents(*data, 0, 0).validation.empty());
  EXPECT_THROW(split_documents(*data, 0, 1.0), InputError);
  EXPECT_THROW(split_documents(*data, 0, std::nan("")), InputError);
}

TEST_F(DatasetTest, OneDocumentIsCutByTokens) {
  Ids document(100);
  std::iota(document.begin(), document.end(), 1);
  const auto data = tokens({document});
  const Split split = split_documents(*data, 0, 0.1);
  EXPECT_EQ(split.train.end, 90u);
  DatasetOptions made = options(10);
  made.order = Order::corpus;
  made.tail = Tail::pad;
  const Dataset train(data, split.train, made), validation(data, split.validation, made);
  EXPECT_EQ(train.tokens(), 90u);       // its end is not the document's
  EXPECT_EQ(validation.tokens(), 11u);  // with the end-of-text token
  EXPECT_EQ(read(validation, 0).tokens.front(), 91);
  EXPECT_EQ(read(validation, 0).targets.back(), kEnd);
}

TEST(Interleave, CountsAreWithinOneOfWhatWasAsked) {
  const std::vector<std::vector<double>> rows{{1},
                                              {1, 1},
                                              {0.5, 0.3, 0.2},
                                              {0.9, 0.02, 0.02, 0.02, 0.02, 0.02},
                                              {3, 1, 1, 1, 1, 1, 1, 1},
                                              {1, 2, 3, 4, 5, 6, 7},
                                              {0.7071067811865476, 0.3, 1e-3},
                                              {1e9, 1}};
  for (const auto& weights : rows) {
    const Interleave interleave(weights);
    const auto& quotas = interleave.quotas();
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    std::vector<std::uint64_t> counts(weights.size(), 0);
    for (std::uint64_t n = 0; n < std::min<std::uint64_t>(3 * interleave.period(), 300000); ++n) {
      const auto turn = interleave(n);
      ASSERT_EQ(turn.index, counts[turn.source]++);
      for (std::size_t s = 0; s < weights.size(); ++s) {
        const double asked = static_cast<double>(n + 1) * static_cast<double>(quotas[s]) /
                             static_cast<double>(interleave.period());
        ASSERT_LT(std::abs(static_cast<double>(counts[s]) - asked), 1) << n;
      }
    }
    for (std::size_t s = 0; s < weights.size(); ++s) {
      const double share =
          static_cast<double>(quotas[s]) / static_cast<double>(interleave.period());
      EXPECT_NEAR(share, weights[s] / sum, 1.1e-6);
    }
  }
  EXPECT_EQ(Interleave(rows[2]).period(), 10u);
}

TEST(Interleave, RefusesWeightsThatAreNone) {
  for (const double bad : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    EXPECT_THROW(Interleave(std::vector<double>{1.0, bad}), InputError) << bad;
  }
}

TEST_F(DatasetTest, AMixtureReadsEachSourceInItsOwnOrder) {
  std::vector<std::shared_ptr<const SequenceSource>> sources;
  for (std::uint32_t s = 0; s < 3; ++s) {
    DatasetOptions made = options(8);
    made.source = s;
    sources.push_back(dataset(random_documents(s, 50 + 10 * s), made));
  }
  const std::vector<std::uint64_t> endless(3, MixtureSchedule::kEndless);
  const Mixture mixture(sources, MixtureSchedule({{0, {5, 3, 2}}}, endless));
  std::vector<std::uint64_t> counts(3, 0);
  for (std::uint64_t n = 0; n < 500; ++n) {
    const auto turn = mixture.schedule()(n);
    EXPECT_EQ(read(mixture, n).tokens, read(*sources[turn.source], counts[turn.source]++).tokens);
  }
}

TEST_F(DatasetTest, ALoaderStartedAtNIsOneThatAdvancedToN) {
  const auto data = dataset(random_documents(8, 200), options(16));
  LoaderOptions made;
  made.micro_batch_size = 3;
  made.micro_batches = 2;
  Loader advanced(data, made);
  for (int step = 0; step < 17; ++step) advanced.next();
  EXPECT_EQ(advanced.position(), 17u * 6u);
  made.first_sequence = advanced.position();
  Loader resumed(data, made);
  for (int step = 0; step < 200; ++step) {
    const auto a = advanced.next(), b = resumed.next();
    ASSERT_EQ(a.batch.first_sequence, b.batch.first_sequence);
    ASSERT_EQ(a.batch.valid_tokens, b.batch.valid_tokens);
    for (std::size_t m = 0; m < 2; ++m) {
      ASSERT_EQ(a.batch.micro_batches[m].tokens, b.batch.micro_batches[m].tokens);
      ASSERT_EQ(a.batch.micro_batches[m].targets, b.batch.micro_batches[m].targets);
      ASSERT_EQ(a.batch.micro_batches[m].visibility, b.batch.micro_batches[m].visibility);
      ASSERT_EQ(a.batch.micro_batches[m].positions, b.batch.micro_batches[m].positions);
    }
    EXPECT_GE(a.wait_seconds, 0);
  }
}

TEST_F(DatasetTest, RanksShareTheStepBetweenThem) {
  const auto data = dataset(random_documents(8, 200), options(8));
  LoaderOptions one;
  one.micro_batch_size = 2;
  one.micro_batches = 6;
  Loader whole(data, one);
  const auto expected = whole.next();
  LoaderOptions part = one;
  part.micro_batches = 2;
  part.ranks = 3;
  for (part.rank = 0; part.rank < 3; ++part.rank) {
    Loader loader(data, part);
    const auto got = loader.next();
    for (std::size_t m = 0; m < 2; ++m) {
      const std::size_t place = m * 3 + static_cast<std::size_t>(part.rank);
      EXPECT_EQ(got.batch.micro_batches[m].tokens, expected.batch.micro_batches[place].tokens);
    }
    EXPECT_EQ(loader.position(), whole.position());
  }
}

// Balancing moves sequences between ranks and micro-batches, never between steps.
TEST_F(DatasetTest, ABalancedStepHasTheSameSequences) {
  DatasetOptions packed = options(64);
  packed.packing = Packing::best_fit;
  const auto data = dataset(random_documents(8, 3000), packed);
  const auto step_of = [&](Balance balance, std::int64_t ranks, int step) {
    std::multiset<Ids> sequences;
    LoaderOptions made;
    made.balance = balance;
    made.cost = {0, 1};
    made.ranks = ranks;
    made.micro_batch_size = 2;
    made.micro_batches = 12 / ranks;
    for (made.rank = 0; made.rank < ranks; ++made.rank) {
      Loader loader(data, made);
      for (int s = 0; s < step; ++s) loader.next();
      for (const Batch& batch : loader.next().batch.micro_batches) {
        const auto middle = batch.tokens.begin() + 64;
        sequences.emplace(batch.tokens.begin(), middle);
        sequences.emplace(middle, batch.tokens.end());
      }
    }
    return sequences;
  };
  for (int step = 0; step < 3; ++step) {
    const auto expected = step_of(Balance::round_robin, 1, step);
    EXPECT_EQ(expected.size(), 24u);
    for (const Balance balance : {Balance::greedy, Balance::karmarkar_karp}) {
      for (const std::int64_t ranks : {2, 3, 6}) {
        EXPECT_EQ(step_of(balance, ranks, step), expected) << ranks;
      }
    }
  }
}

TEST_F(DatasetTest, TheLoadersThreadHandsItsErrorsOver) {
  const auto data = dataset({{1, 2, 3, 4, 2000}}, options(4));
  LoaderOptions made;
  made.node.workers.first_pause = std::chrono::milliseconds(0);
  Loader loader(data, made);
  EXPECT_THROW(loader.next(), InputError);
  EXPECT_THROW(loader.next(), InputError);
}

TEST_F(DatasetTest, SteadyBatchesReuseTheirBuffers) {
  const auto data = dataset(random_documents(8, 200), options(16));
  Loader loader(data, {});
  std::set<const std::int32_t*> seen;
  for (int step = 0; step < 10; ++step) {
    seen.insert(loader.next().batch.micro_batches[0].tokens.data());
  }
  EXPECT_EQ(seen.size(), 1u);
}

}  // namespace
}  // namespace bessemer::data
