#include "data/raw_dataset.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/parallel.h"
#include "base/rng.h"
#include "data/bpe_trainer.h"
#include "data/data_directory.h"
#include "data/random_text.h"
#include "data/tokenizer_json.h"

namespace bessemer::data {
namespace {

using Ids = std::vector<std::int32_t>;
using Access = BlockCounts::Access;

// Separated texts in two files, rows in a third, an empty file, some blank and empty records.
class RawDatasetTest : public testing::Test {
 protected:
  RawDatasetTest() {
    const CounterRng rng(1, 0, 3);
    const auto text = [&](std::uint64_t d) {
      return "d" + std::to_string(d) + random_fragments(d, rng.word(d) % 200, false);
    };
    for (const char* name : {"corpus/a.txt", "corpus/b.txt"}) {
      std::string all;
      for (std::uint64_t d = 0; d < 150; ++d) all += text(d) + "\n<|endoftext|>\n";
      input_.write(name, all + (name[7] == 'a' ? "<|endoftext|>\n" : "no separator behind it"));
    }
    input_.write("corpus/c-empty.txt", "");
    std::string rows = "\xEF\xBB\xBF";
    for (std::uint64_t d = 0; d < 200; ++d) {
      rows += nlohmann::json{{"text", d % 50 == 7 ? "" : text(1000 + d)}}.dump();
      rows += d % 10 == 0 ? "\n \n" : "\n";
    }
    input_.write("corpus/d.jsonl", rows);
    BpeTrainer trainer({.vocabulary = 400});
    trainer.add({Piece{text(1) + text(2) + text(3)}});
    tokenizer_ = std::make_shared<const Tokenizer>(trainer.train());
    save_tokenizer(*tokenizer_, input_.path() / "tokenizer.json");
  }

  RawSourceOptions options(Packing packing = Packing::best_fit) const {
    RawSourceOptions made;
    made.source = {"raw", (input_.path() / "corpus").string()};
    made.directory = cache_.path() / "data";
    made.tokenizer_path = input_.path() / "tokenizer.json";
    made.tokenizer = tokenizer_;
    made.validation_fraction = 0.05;
    made.block_bytes = 4000;
    made.dataset.sequence_length = 64;
    made.dataset.end_of_text = tokenizer_->end_of_text();
    made.dataset.vocabulary = tokenizer_->vocabulary_size();
    made.dataset.seed = 5;
    made.dataset.source = 2;
    made.dataset.packing = packing;
    return made;
  }

  static RawDataset dataset(const RawSourceOptions& made, Access access = Access::extend) {
    return RawDataset(RawSource::prepare(made), access);
  }

  std::filesystem::path counts(const RawSourceOptions& made) const {
    return RawSource::prepare(made)->prefix().string() + ".counts";
  }

  DataDirectory input_, cache_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

struct Read {
  Ids tokens, targets, positions, visibility;
  bool operator==(const Read&) const = default;
};

Read read(const SequenceSource& source, std::uint64_t index) {
  const auto n = static_cast<std::size_t>(source.sequence_length());
  Read r{Ids(n), Ids(n), Ids(n), Ids(2 * n)};
  const std::int64_t valid = source.read(index, {r.tokens, r.targets, r.positions, r.visibility});
  EXPECT_EQ(valid,
            std::count_if(r.targets.begin(), r.targets.end(), [](auto t) { return t >= 0; }));
  return r;
}

std::vector<Read> read_all(const SequenceSource& source, std::uint64_t count) {
  std::vector<Read> all;
  for (std::uint64_t n = 0; n < count; ++n) all.push_back(read(source, n));
  return all;
}

// Each training document whole and once, none that validates, and the tokens of each are its own.
TEST_F(RawDatasetTest, AnEpochReadsEachDocumentOnce) {
  for (const Packing packing : {Packing::best_fit, Packing::concatenate}) {
    const RawDataset data = dataset(options(packing));
    const RawSource& source = data.source();
    const std::uint64_t sequences = data.sequences();
    std::vector<Ids> documents;
    for (std::uint32_t d = 0; d < source.table().records; ++d) {
      documents.push_back(source.document(d).tokens.ids);
    }
    ASSERT_GT(source.table().blocks.size(), 10u);
    EXPECT_EQ(source.table().records, 150u + 151u + 200u);
    for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
      std::map<std::uint32_t, std::map<std::uint64_t, std::uint64_t>> parts;
      for (std::uint64_t n = epoch * sequences; n < (epoch + 1) * sequences; ++n) {
        std::size_t t = 0;
        const Read sequence = read(data, n);
        data.visit(n, [&](const Origin& origin) {
          EXPECT_EQ(origin.source, 2u);
          EXPECT_TRUE(parts[origin.document].emplace(origin.begin, origin.count).second);
          const Ids& ids = documents[origin.document];
          for (std::uint64_t i = origin.begin; i < origin.begin + origin.count; ++i, ++t) {
            ASSERT_EQ(sequence.tokens[t], ids[i]);
            ASSERT_EQ(sequence.targets[t], i + 1 < ids.size() ? ids[i + 1] : -1);
          }
        });
      }
      std::size_t validating = 0, empty = 0;
      for (std::uint32_t d = 0; d < source.table().records; ++d) {
        const std::size_t length = documents[d].size();
        const bool validates = split_draw(5, d) < 0.05;
        validating += validates ? 1 : 0;
        empty += length == 0 ? 1 : 0;
        std::uint64_t end = 0;
        for (const auto& [begin, count] : parts[d]) {
          EXPECT_EQ(begin, end);
          end = begin + count;
        }
        if (validates || length == 0) {
          EXPECT_EQ(end, 0u) << d;
        } else {  // nothing is predicted from a document's last token
          EXPECT_GE(end, length - 1) << d;
          EXPECT_LE(end, packing == Packing::best_fit ? length - 1 : length) << d;
        }
      }
      EXPECT_GT(validating, 5u);
      EXPECT_EQ(empty, 4u);
      const auto held = IndexedDataset::open(source.validation_prefix());
      EXPECT_GE(validating, held.documents());
      EXPECT_LE(validating, held.documents() + empty);
    }
    EXPECT_NE(read(data, 0), read(data, sequences)) << "epochs differ";
  }
}

TEST_F(RawDatasetTest, TheOrderDoesNotDependOnThreads) {
  const RawSourceOptions made = options();
  const int before = thread_count();
  set_thread_count(1);
  const RawDataset one = dataset(made, Access::read_only);
  const std::uint64_t sequences = one.sequences() * 3 / 2;
  const std::vector<Read> expected = read_all(one, sequences);
  set_thread_count(4);
  const RawDataset four = dataset(made, Access::read_only);
  std::vector<Read> found(sequences);
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (std::uint64_t n = t; n < sequences; n += 4) found[n] = read(four, n);
      });
    }
  }
  set_thread_count(before);
  EXPECT_TRUE(found == expected);
}

// Whatever is left of the sidecar: the sequences are the same.
TEST_F(RawDatasetTest, ARestartAnywhereGivesTheSame) {
  const RawSourceOptions made = options();
  std::vector<Read> expected;
  std::uint64_t sequences = 0;
  {
    const RawDataset whole = dataset(made, Access::read_only);
    sequences = whole.sequences();
    expected = read_all(whole, 2 * sequences);
  }
  const auto path = counts(made);
  EXPECT_FALSE(std::filesystem::exists(path));
  const CounterRng rng(3, 0, 4);
  for (std::uint64_t trial = 0; trial < 40; ++trial) {
    const std::string bytes = std::filesystem::exists(path) ? read_file(path) : "";
    std::string damaged = bytes;
    switch (bytes.empty() ? 0 : trial % 4) {
      case 1: damaged.resize(rng.word(trial) % bytes.size()); break;
      case 2: damaged[rng.word(trial) % bytes.size()] ^= 0x10; break;
      case 3: std::filesystem::remove(path); break;
      default: break;
    }
    if (damaged != bytes) cache_.write("data/" + path.filename().string(), damaged);
    const RawDataset data = dataset(made);
    const std::uint64_t first = rng.word(100 + trial) % (2 * sequences - 20);
    for (std::uint64_t n = first; n < first + 20; ++n) ASSERT_EQ(read(data, n), expected[n]) << n;
  }
}

TEST_F(RawDatasetTest, WhatWasReadIsKnownAgain) {
  const RawSourceOptions made = options();
  BlockTotals before;
  {
    const RawDataset data = dataset(made);
    read(data, 100);
    before = data.known();
    EXPECT_GT(before.blocks, 1u);
    EXPECT_LT(before.blocks, data.source().table().blocks.size());
  }
  const BlockTotals after = dataset(made, Access::read_only).known();
  EXPECT_EQ(after.blocks, before.blocks);
  EXPECT_EQ(after.tokens, before.tokens);
  EXPECT_EQ(after.lengths, before.lengths);
  EXPECT_NE(input_error_of([&] {
              RawSourceOptions other = made;
              other.dataset.seed = 6;
              RawSource::open(other);
            }).find("have changed since"),
            std::string::npos);
}

TEST_F(RawDatasetTest, AFileThatChangesIsFoundOut) {
  const RawSourceOptions made = options();
  const RawDataset data = dataset(made, Access::read_only);
  const std::uint64_t sequences = data.sequences();
  std::string bytes = read_file(input_.path() / "corpus/a.txt");
  input_.write("corpus/a.txt", bytes.substr(0, bytes.size() / 2));
  const RawDataset other(std::shared_ptr<const RawSource>(&data.source(), [](auto*) {}),
                         Access::read_only);
  EXPECT_NE(input_error_of([&] { read_all(other, sequences); }).find("a.txt"), std::string::npos);
  EXPECT_NE(input_error_of([&] { RawSource::open(made); }), "");
}

TEST_F(RawDatasetTest, BadRecordsStopOrAreSkipped) {
  std::string rows;
  for (int d = 0; d < 300; ++d)
    rows += "{\"text\": \"row of some length " + std::to_string(d) + "\"}\n";
  RawSourceOptions made = options();
  made.validation_fraction = 0;
  made.source.path = input_.write("bad.jsonl", rows + "\n{oops\n" + rows).string();
  const std::string message = input_error_of([&] { dataset(made).sequences(); });
  EXPECT_NE(message.find("bad.jsonl:302: column 2"), std::string::npos) << message;
  made.on_bad_record = OnBadRecord::skip;
  const RawDataset data = dataset(made);
  data.sequences();
  EXPECT_EQ(data.known().bad_records, 1u);
  EXPECT_EQ(data.known().documents, 600u);
}

TEST_F(RawDatasetTest, WhatCannotBeReadFromTheMiddleIsRefused) {
  RawSourceOptions made = options();
  made.source.path = input_.write("x.txt.gz", "anything").string();
  EXPECT_NE(input_error_of([&] { dataset(made); }).find("x.txt.gz is compressed"),
            std::string::npos);
  made.source.path = input_.write("e.txt", "").string();
  EXPECT_NE(input_error_of([&] { dataset(made); }).find("no documents"), std::string::npos);
  made.source.path = input_.write("two.txt", "a b c\n<|endoftext|>\nd e f").string();
  made.validation_fraction = 1 - 1e-9;
  EXPECT_NE(input_error_of([&] { dataset(made); }).find("none trains"), std::string::npos);
  made.validation_fraction = 1e-9;  // the smallest draw validates
  EXPECT_EQ(IndexedDataset::open(dataset(made).source().validation_prefix()).documents(), 1u);
}

// Conversations: the same tokens and masks as ahead.
TEST_F(RawDatasetTest, ConversationsAreMasked) {
  std::string rows;
  for (int d = 0; d < 80; ++d) {
    rows += nlohmann::json{{"messages",
                            {{{"role", "user"}, {"content", "question " + std::to_string(d)}},
                             {{"role", "assistant"}, {"content", "answer " + std::to_string(d)}}}}}
                .dump() +
            "\n";
  }
  RawSourceOptions made = options();
  made.source.path = input_.write("talk.jsonl", rows).string();
  made.dataset.sequence_length = 256;  // no conversation is cut
  const RawDataset data = dataset(made);
  std::string said;
  for (std::uint64_t n = 0; n < data.sequences(); ++n) {
    for (const std::int32_t id : read(data, n).targets) {
      if (id >= 0) said += tokenizer_->token_bytes(id);
    }
  }
  std::size_t answers = 0;
  for (std::size_t at = 0; (at = said.find("answer ", at)) != said.npos; ++at) ++answers;
  EXPECT_EQ(answers, data.known().documents);
  EXPECT_EQ(said.find("question"), said.npos);
  EXPECT_NE(LossMask::open(data.source().validation_prefix(),
                           IndexedDataset::open(data.source().validation_prefix()).tokens()),
            nullptr);
}

// A reader that starts at any record gives what one from the start gives.
TEST(RecordReader, StartsAtAnyRecord) {
  std::string text;
  for (int i = 0; i < 140000; ++i) text += "line number " + std::to_string(i) + "\n";
  const struct {
    Format format;
    std::string bytes;
    std::size_t records;
  } rows[] = {
      {Format::text, text, 3},  // of 2.6 MB, cut after one and two
      {Format::text, "a\n<|endoftext|>\n<|endoftext|>\n\n<|endoftext|>\r\nb", 3},
      {Format::text, std::string(3 << 20, 'x'), 1},
      {Format::jsonl, "\n {}\n\n{\"a\": 1}\r\n \nx", 3},
      {Format::jsonl, "", 0},
  };
  for (const auto& row : rows) {
    const auto from = [&](std::uint64_t offset, std::uint64_t line) {
      std::vector<Record> records;
      RecordReader reader(memory_stream(std::string_view(row.bytes).substr(offset)), row.format,
                          offset, line, RecordReader::End::of_file);
      for (Record record; reader.next(record);) records.push_back(record);
      return records;
    };
    const std::vector<Record> all = from(0, 1);
    EXPECT_EQ(all.size(), row.records);
    for (std::size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(row.bytes.substr(all[i].offset, all[i].text.size()), all[i].text);
      const auto before = row.bytes.substr(0, all[i].offset);
      EXPECT_EQ(static_cast<std::size_t>(all[i].line),
                1 + static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n')));
      const std::vector<Record> rest = from(all[i].offset, all[i].line);
      ASSERT_EQ(rest.size(), all.size() - i);
      for (std::size_t j = 0; j < rest.size(); ++j) {
        EXPECT_TRUE(rest[j].text == all[i + j].text);
        EXPECT_EQ(rest[j].offset, all[i + j].offset);
        EXPECT_EQ(rest[j].line, all[i + j].line);
        EXPECT_EQ(rest[j].ends_document, all[i + j].ends_document);
      }
    }
  }
}

TEST(BlockTable, ADamagedTableIsNone) {
  const DataDirectory directory;
  BlockTable table;
  table.blocks = {{0, 10, 0, 1, 0, 3}, {10, 7, 3, 4, 0, 2}, {0, 5, 5, 1, 1, 1}};
  table.records = 6;
  const auto path = directory.path() / "t.blocks";
  save_blocks(table, path);
  const auto loaded = load_blocks(path);
  ASSERT_TRUE(loaded.has_value());
  EXPECT_EQ(loaded->of(4).offset, 10u);
  EXPECT_EQ(loaded->of(5).file, 1u);
  const std::string bytes = read_file(path);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    EXPECT_FALSE(load_blocks(directory.write("t.blocks", damaged)).has_value()) << at;
    EXPECT_FALSE(load_blocks(directory.write("t.blocks", bytes.substr(0, at))).has_value()) << at;
  }
}

BlockSummary summary_of(std::size_t block) {
  BlockSummary summary;
  summary.sequences = static_cast<std::uint32_t>(block % 13);
  summary.tokens = block * 31;
  return summary;
}

constexpr std::uintmax_t kCountsHeader = 40, kCountsEntry = 120;

TEST(BlockCounts, WhoeverExtendsLearnsFromTheOthers) {
  const DataDirectory place;
  const auto path = place.path() / "a.counts";
  const std::string digest(32, 'd');
  BlockCounts one(path, digest, 9, Access::extend), two(path, digest, 9, Access::extend);
  one.add(3, summary_of(3));
  EXPECT_FALSE(two.knows(3));
  two.add(4, summary_of(4));
  EXPECT_TRUE(two.knows(3));
  EXPECT_FALSE(one.knows(4));
  one.refresh();
  EXPECT_EQ(one.sequences(4), 4u);
  EXPECT_EQ(one.totals().tokens, two.totals().tokens);
  std::ofstream(path, std::ios::app) << "of a process that was killed";
  one.add(5, summary_of(5));
  EXPECT_EQ(std::filesystem::file_size(path), kCountsHeader + 3 * kCountsEntry);
  std::filesystem::resize_file(path, kCountsHeader + kCountsEntry + 7);  // and what it took with it
  BlockCounts three(path, digest, 9, Access::extend);
  EXPECT_TRUE(three.knows(3) && !three.knows(4));
  three.add(8, summary_of(8));
  one.refresh();
  EXPECT_TRUE(one.knows(8));
}

TEST(BlockCounts, SeveralProcessesAppendWholeEntries) {
  constexpr std::size_t kBlocks = 400, kProcesses = 4;
  const DataDirectory place;
  const auto path = place.path() / "a.counts";
  const std::string digest(32, 'd');
  std::vector<pid_t> processes;
  for (std::size_t p = 0; p < kProcesses; ++p) {
    processes.push_back(::fork());
    if (processes.back() != 0) continue;
    BlockCounts counts(path, digest, kBlocks, Access::extend);
    for (std::size_t i = 0; i < kBlocks; ++i) {
      const std::size_t block = (i * 7 + p * 100) % kBlocks;
      if (!counts.knows(block)) counts.add(block, summary_of(block));
    }
    ::_exit(counts.totals().blocks == kBlocks ? 0 : 1);
  }
  for (const pid_t process : processes) {
    int status = -1;
    ASSERT_EQ(::waitpid(process, &status, 0), process);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(std::filesystem::file_size(path), kCountsHeader + kBlocks * kCountsEntry);
  const BlockCounts all(path, digest, kBlocks, Access::read_only);
  for (std::size_t block = 0; block < kBlocks; ++block) {
    ASSERT_TRUE(all.knows(block));
    EXPECT_EQ(all.sequences(block), block % 13);
  }
}

// One reads what the other has tokenized without tokenizing it again.
TEST_F(RawDatasetTest, TwoReadersOfOneSourceShareWhatTheyLearn) {
  const RawSourceOptions made = options();
  const RawDataset one = dataset(made), two = dataset(made);
  EXPECT_EQ(read(one, 60), read(dataset(made, Access::read_only), 60));
  two.reach(60);
  EXPECT_EQ(two.known().blocks, one.known().blocks);
  EXPECT_EQ(read(two, 60), read(one, 60));
}

}  // namespace
}  // namespace bessemer::data
