#include "data/parts.h"

#include <cstring>
#include <map>

#include <sys/stat.h>

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "base/parallel.h"
#include "base/rng.h"
#include "data/data_directory.h"
#include "data/document_encoder.h"
#include "data/loss_mask.h"
#include "data/places.h"
#include "data/random_text.h"
#include "data/tokenizer_file.h"
#include "support/failing_writes.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTokenizer = BESSEMER_SOURCE_DIR "/tests/data/golden/gpt2.json";

class PartsTest : public ::testing::Test {
 protected:
  PartsTest() : tokenizer_(load_tokenizer(kTokenizer)) {
    std::string lines, json;
    for (int i = 0; i < 30000; ++i) {  // more than what is read at once
      lines += "line " + std::to_string(i * 7919 % 10007) + "\n";
      if (i % 97 == 0) lines += "<|endoftext|>\n";
      if (i < 3000) json += "{\"text\": \"number " + std::to_string(i) + "\"}\n";
    }
    files_ = {input_.write("a.txt", lines), input_.write("b.jsonl", json),
              input_.write("c.txt", random_fragments(3, 4000, true)), input_.write("d.txt", ""),
              input_.write("e.txt", "the last")};
    options_.directory = output_.path() / ".parts";
    options_.made_from = "gpt2";
    options_.smallest_chunk = 4000;
    options_.largest_chunk = 60000;
  }

  std::vector<MadePart> make() { return make_parts(files_, tokenizer_, options_); }

  /// Makes and joins; the bytes of the three files.
  std::vector<std::string> build() {
    const fs::path prefix = output_.path() / "joined";
    join_parts(make(), prefix, token_type_for(tokenizer_.vocabulary_size()), [] {});
    return {read_file(bin_path(prefix)), read_file(idx_path(prefix)),
            read_file(places_path(prefix))};
  }

  /// The same from a reader that cuts nothing.
  std::vector<std::string> build_whole() {
    const fs::path prefix = output_.path() / "whole";
    IndexedDatasetWriter writer(prefix, token_type_for(tokenizer_.vocabulary_size()));
    std::vector<Place> places;
    DocumentReader reader(files_, {"text", 0, options_.on_bad_record});
    const std::int32_t end_of_text = tokenizer_.end_of_text();
    for (Piece piece; reader.next(piece);) {
      writer.append(tokenizer_.encode(piece.text, AddedTokens::as_text));
      writer.append(std::span(&end_of_text, 1));
      writer.end_document();
      places.push_back(piece.place);
    }
    writer.finish();
    write_places(prefix, places);
    return {read_file(bin_path(prefix)), read_file(idx_path(prefix)),
            read_file(places_path(prefix))};
  }

  /// Every part with its inode: a file that is made again gets another.
  std::map<std::string, ::ino_t> parts_on_disk() const {
    std::map<std::string, ::ino_t> found;
    if (!fs::exists(options_.directory)) return found;
    for (const auto& entry : fs::recursive_directory_iterator(options_.directory)) {
      struct stat info {};
      if (entry.path().extension() != ".part") continue;
      EXPECT_EQ(::stat(entry.path().c_str(), &info), 0);
      found[entry.path().string()] = info.st_ino;
    }
    return found;
  }

  DataDirectory input_, output_;
  Tokenizer tokenizer_;
  std::vector<fs::path> files_;
  PartOptions options_;
};

TEST_F(PartsTest, JoinedPartsAreTheWholeWhateverTheThreads) {
  const std::vector<std::string> expected = build_whole();
  const int threads = thread_count();
  for (const int count : {1, 2, 5}) {
    set_thread_count(count);
    EXPECT_TRUE(build() == expected) << count;
    EXPECT_GT(parts_on_disk().size(), 30u);
    fs::remove_all(options_.directory);
  }
  set_thread_count(threads);
}

TEST_F(PartsTest, OnlyWhatIsMissingIsMade) {
  const std::vector<std::string> expected = build();
  auto all = parts_on_disk();
  for (std::uint64_t round = 0; round < 12; ++round) {
    const CounterRng random(round, 0, 0);
    std::uint64_t i = 0;
    for (auto it = all.begin(); it != all.end(); ++i) {
      const bool gone = random.word(i) % 4 == 0;
      if (gone) fs::remove(it->first);
      it = gone ? all.erase(it) : std::next(it);
    }
    EXPECT_TRUE(build() == expected);
    const auto after = parts_on_disk();
    for (const auto& [path, inode] : all) EXPECT_EQ(after.at(path), inode) << path;
    all = after;
  }
}

// Parts of conversations, with masks.
class ChatPartsTest : public PartsTest {
 protected:
  ChatPartsTest() {
    std::string lines;
    for (int i = 0; i < 4000; ++i) {
      lines += fmt::format(R"({{"messages": [{{"role": "user", "content": "how much is {}"}},)"
                           R"({{"role": "assistant", "content": "{}"}}]}})",
                           i, i * 7919 % 10007) +
               "\n";
      if (i % 41 == 0) lines += "{\"messages\": []}\n";
    }
    files_ = {input_.write("a.jsonl", lines), input_.write("b.jsonl", lines.substr(0, 30000))};
    options_.chat = std::make_shared<const ChatTemplate>(find_chat_template("chatml"));
    options_.on_bad_record = OnBadRecord::skip;
    options_.made_from = "gpt2 chatml";
  }

  std::vector<std::string> build_masked() {
    std::vector<std::string> bytes = build();
    bytes.push_back(read_file(loss_path(output_.path() / "joined")));
    return bytes;
  }

  std::string whole_mask() {
    const fs::path prefix = output_.path() / "whole";
    LossMaskWriter writer(prefix);
    DocumentEncoder encoder(tokenizer_);
    EncodedDocument document;
    DocumentReader reader(files_, {.on_bad_record = OnBadRecord::skip, .chat = options_.chat});
    for (Piece piece; reader.next(piece);) {
      encoder.encode(piece.text, piece.spans, AddedTokens::as_text, document);
      document.trained.push_back(0);
      writer.append(document.trained);
    }
    writer.finish();
    return read_file(loss_path(prefix));
  }
};

TEST_F(ChatPartsTest, MasksAreThoseOfTheWholeWhateverTheThreadsAndInterruptions) {
  const std::string mask = whole_mask();
  const std::vector<std::string> expected = build_masked();
  EXPECT_TRUE(expected.back() == mask);
  const int threads = thread_count();
  for (const int count : {1, 2, 5}) {
    set_thread_count(count);
    fs::remove_all(options_.directory);
    EXPECT_TRUE(build_masked() == expected) << count;
    const auto parts = parts_on_disk();
    EXPECT_GT(parts.size(), 15u);
    fs::remove(std::next(parts.begin(), 7)->first);
    EXPECT_TRUE(build_masked() == expected) << count;
    EXPECT_EQ(parts_on_disk().size(), parts.size());
  }
  set_thread_count(threads);
}

TEST_F(ChatPartsTest, ADamagedMaskIsFoundOutAndMadeAgain) {
  const std::vector<std::string> expected = build_masked();
  const std::string path = parts_on_disk().begin()->first;
  std::string bytes = read_file(path);
  ASSERT_TRUE(read_part_summary(path).masked);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file_atomically(path, bytes);
  EXPECT_NE(input_error_of([&] { build(); }).find("damaged"), std::string::npos);
  EXPECT_TRUE(build_masked() == expected);
}

TEST_F(PartsTest, ProgressReachesTheTotalAndTellsWhatWasThere) {
  std::uint64_t total = 0, last = 0, before = 0;
  for (const fs::path& file : files_) total += fs::file_size(file);
  set_thread_count(1);
  options_.progress = [&](std::uint64_t done, std::uint64_t earlier) {
    EXPECT_GE(done, last);
    last = done;
    before = earlier;
  };
  make();
  EXPECT_EQ(last, total);
  EXPECT_EQ(before, 0u);
  fs::remove(parts_on_disk().rbegin()->first);
  last = 0;
  make();
  EXPECT_EQ(last, total);
  EXPECT_GT(before, 0u);
}

TEST_F(PartsTest, BrokenPartsAreMadeAgain) {
  const std::vector<std::string> expected = build();
  const auto parts = parts_on_disk();
  std::uint64_t seed = 0;
  for (const auto& [path, inode] : parts) {
    std::string bytes = read_file(path);
    const CounterRng random(seed++, 0, 0);
    const bool cut = random.word(0) % 2 == 0;
    if (cut)
      bytes.resize(random.word(1) % bytes.size());
    else
      bytes[16 + random.word(1) % (bytes.size() - 16)] ^= 0x20;
    write_file_atomically(path, bytes);
    // Damage that the summary does not show is found by the checksum, and then the part is gone.
    std::vector<std::string> got;
    for (int tries = 0; tries < 3 && got.empty(); ++tries) {
      const std::string message = input_error_of([&] { got = build(); });
      EXPECT_TRUE(message.empty() || message.find("build again") != message.npos) << message;
    }
    ASSERT_TRUE(got == expected) << path;
  }
}

TEST_F(PartsTest, TheFirstMistakeOfTheCorpusIsTold) {
  std::string json = read_file(files_[1]);
  for (const int place : {900, 2000}) {
    std::size_t at = 0;
    for (int line = 1; line < place; ++line) at = json.find('\n', at) + 1;
    json[at] = '?';
  }
  input_.write("b.jsonl", json);
  const int threads = thread_count();
  for (const int count : {1, 4}) {
    set_thread_count(count);
    const std::string message = input_error_of([&] { make(); });
    EXPECT_NE(message.find("b.jsonl:900: column 1"), message.npos) << message;
  }
  set_thread_count(threads);
  options_.on_bad_record = OnBadRecord::skip;
  options_.made_from += " skip";
  std::uint64_t bad = 0;
  for (const MadePart& part : make()) bad += part.summary.bad_records;
  EXPECT_EQ(bad, 2u);
}

TEST_F(PartsTest, AChangedFileAndAnotherTokenizerAreNotTakenOver) {
  const std::vector<std::string> first = build();
  input_.write("e.txt", "the end!");
  EXPECT_FALSE(build() == first);
  EXPECT_TRUE(build() == build_whole());
  const std::size_t before = parts_on_disk().size();
  options_.made_from = "another";
  build();
  EXPECT_GT(parts_on_disk().size(), before + 30);
}

TEST_F(PartsTest, AWriteThatFailsNamesTheFileAndLosesNothing) {
  const std::vector<std::string> expected = build_whole();
  const auto fails = [&](rlim_t bytes, const std::string& name) {
    const bessemer::testing::FileSizeLimit limit(bytes);
    const std::string message = input_error_of([&] { build(); });
    EXPECT_NE(message.find("cannot write: File too large"), message.npos) << message;
    EXPECT_NE(message.find(name), message.npos) << message;
  };
  fails(1000, ".part");     // no part can be written
  fails(20000, "joined.");  // the parts can, what they are joined to cannot
  const auto parts = parts_on_disk();
  EXPECT_GT(parts.size(), 30u);
  for (const char* name : {"joined.bin", "joined.idx", "joined.places", "joined.bin.partial",
                           "joined.idx.partial", "joined.places.partial"}) {
    EXPECT_FALSE(fs::exists(output_.path() / name)) << name;
  }
  EXPECT_TRUE(build() == expected);
  EXPECT_EQ(parts_on_disk(), parts);
}

TEST_F(PartsTest, AFullDiskIsNamed) {
  const std::vector<std::string> expected = build_whole();
  {
    const bessemer::testing::SmallDisk disk(options_.directory, 2);
    if (!disk.mounted()) GTEST_SKIP() << "cannot mount a small disk: " << std::strerror(errno);
    write_file_atomically(options_.directory / "ballast", std::string(1900000, 'x'));
    const std::string message = input_error_of([&] { build(); });
    EXPECT_NE(message.find(".part.partial: cannot write: No space left on device"), message.npos)
        << message;
    fs::remove(options_.directory / "ballast");
    EXPECT_TRUE(build() == expected);
  }
}

}  // namespace
}  // namespace bessemer::data
