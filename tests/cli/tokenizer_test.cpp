// From text to tokenizer to ids and back, by the commands a user types.
#include "base/rng.h"
#include "cli/command.h"

namespace bessemer::cli {
namespace {

class TokenizerTest : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    std::string text;
    for (int i = 0; i < 200; ++i) text += "the cat sat on the mat, then the rat sat there too\n";
    write("corpus.txt", text);
    const Outcome trained =
        run({"tokenizer", "train", "--vocabulary", "280", "--out", "tokenizer.json", "corpus.txt"});
    ASSERT_EQ(trained.code, kDone) << trained.err;
  }

  Outcome encode(const std::string& bytes) {
    return run({"tokenizer", "encode", "--tokenizer", "tokenizer.json"}, bytes);
  }
  Outcome decode(const std::string& ids) {
    return run({"tokenizer", "decode", "--tokenizer", "tokenizer.json"}, ids);
  }
};

std::string random_bytes(std::size_t size, std::uint32_t site) {
  const CounterRng rng(7, 0, site);
  std::string bytes;
  for (std::size_t i = 0; i < size; ++i) bytes += static_cast<char>(rng.word(i) & 0xff);
  return bytes;
}

TEST_F(TokenizerTest, DecodeUndoesEncodeByteForByte) {
  std::vector<std::string> texts{"",
                                 "\n",
                                 "the cat",
                                 std::string(3, '\0'),
                                 "<|endoftext|> stays text\r\n",
                                 "\xff\xfe half \xe2\x82"};
  for (std::uint32_t site = 0; site < 8; ++site) texts.push_back(random_bytes(1 << site, site));
  texts.push_back(random_bytes(10000, 99));
  for (const std::string& text : texts) {
    const Outcome encoded = encode(text);
    ASSERT_EQ(encoded.code, kDone) << encoded.err;
    const Outcome decoded = decode(encoded.out);
    ASSERT_EQ(decoded.code, kDone) << decoded.err;
    EXPECT_EQ(decoded.out, text);
  }
}

TEST_F(TokenizerTest, EncodeReadsAFileToo) {
  write("text.txt", "the cat sat");
  const Outcome from_file =
      run({"tokenizer", "encode", "--tokenizer", "tokenizer.json", "text.txt"});
  EXPECT_EQ(from_file.out, encode("the cat sat").out);
  EXPECT_LT(from_file.out.size(), std::string("the cat sat").size() * 4) << "nothing was merged";
}

TEST_F(TokenizerTest, IdsThatAreNone) {
  for (const char* ids : {"1 2 x", "1.5", "-1", "99999999999", "280", "3 +4"}) {
    const Outcome outcome = decode(ids);
    EXPECT_EQ(outcome.code, kUserError) << ids;
    EXPECT_EQ(outcome.out, "") << ids;
  }
  EXPECT_NE(decode("1 2 x").err.find("word 3, \"x\""), std::string::npos);
}

TEST_F(TokenizerTest, BuiltTokenFilesAreShown) {
  const Outcome built =
      run({"data", "build", "--out", "tokens", "--tokenizer", "tokenizer.json", "corpus.txt"});
  ASSERT_EQ(built.code, kDone) << built.err;
  for (const char* path : {"tokens", "tokens/corpus"}) {
    const Outcome info = run({"data", "info", path});
    EXPECT_EQ(info.code, kDone) << info.err;
    EXPECT_NE(info.out.find("documents  1\n"), std::string::npos) << info.out;
    EXPECT_NE(info.out.find("uint16"), std::string::npos) << info.out;
  }
}

}  // namespace
}  // namespace bessemer::cli
