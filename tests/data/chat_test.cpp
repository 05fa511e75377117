#include "data/chat.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "data/build.h"
#include "data/data_directory.h"
#include "data/dataset.h"
#include "data/indexed_dataset.h"
#include "data/loss_mask.h"
#include "data/random_text.h"
#include "data/tokenizer_file.h"

namespace bessemer::data {
namespace {

using Conversation = std::vector<Message>;

std::string rendered(const std::string& name, const Conversation& messages) {
  std::string text;
  std::vector<TextSpan> spans;
  EXPECT_EQ(render_chat(find_chat_template(name), messages, text, spans), "");
  std::size_t bytes = 0;
  for (const TextSpan& span : spans) bytes += span.bytes;
  EXPECT_EQ(bytes, text.size());
  return text;
}

TEST(Chat, TemplatesRender) {
  const Conversation talk{{"system", "S"},
                          {"user", " U\n"},
                          {"assistant", "A"},
                          {"user", "V"},
                          {"assistant", "\tB\u00a0"}};
  EXPECT_EQ(rendered("chatml", talk),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n U\n<|im_end|>\n"
            "<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nV<|im_end|>\n"
            "<|im_start|>assistant\n\tB\u00a0<|im_end|>\n");
  EXPECT_EQ(rendered("llama3", talk),
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nB<|eot_id|>");
  EXPECT_EQ(rendered("mistral", talk),
            "<s> [INST] S\n\n U\n [/INST] A</s> [INST] V [/INST] \tB\u00a0</s>");
  EXPECT_EQ(rendered("zephyr", talk),
            "<|system|>\nS</s>\n<|user|>\n U\n</s>\n<|assistant|>\nA</s>\n<|user|>\nV</s>\n"
            "<|assistant|>\n\tB\u00a0</s>\n");
  EXPECT_EQ(markers_of(find_chat_template("chatml")),
            (std::vector<std::string>{"<|im_start|>", "<|im_end|>"}));
}

TEST(Chat, ATemplateOfOnesOwn) {
  const DataDirectory directory;
  const auto path = [&](const std::string& json) {
    return directory.write("own.json", json).string();
  };
  const std::string own = path(R"({"begin": "^", "trim": true, "roles": {
    "user": {"prefix": "Q: ", "suffix": "\n"},
    "assistant": {"prefix": "A:", "end": "$", "suffix": "\n"}}})");
  EXPECT_EQ(rendered(own, {{"user", " what? "}, {"assistant", "this "}}), "^Q: what?\nA:this$\n");
  for (const char* bad :
       {"{", "[]", "{\"roles\": {}}", "{\"roles\": {\"assistant\": 1}}",
        "{\"roles\": {\"assistant\": {\"prefix\": 1}}}",
        "{\"roles\": {\"assistant\": {}}, \"trim\": 1}",
        "{\"roles\": {\"assistant\": {\"before\": \"\"}}}", "{\"role\": {\"assistant\": {}}}"}) {
    const std::string message = input_error_of([&] { find_chat_template(path(bad)); });
    EXPECT_NE(message.find("own.json: "), std::string::npos) << bad << ": " << message;
  }
  const std::string message = input_error_of([] { find_chat_template("chatlm"); });
  EXPECT_NE(message.find("chatml, llama3, mistral, zephyr"), std::string::npos) << message;
}

// Conversations of random texts that do not begin with white space, and where `trim`, do not end
// with it.
std::vector<Conversation> random_talks(std::uint64_t seed, std::size_t count, bool system) {
  const CounterRng rng(seed, 0, 5);
  std::vector<Conversation> talks(count);
  std::uint64_t draw = 0;
  const auto content = [&] {
    ++draw;
    return "x" + random_fragments(draw, rng.word(draw) % 30, false) + "<|im_end|>.";
  };
  for (Conversation& talk : talks) {
    if (system && rng.word(draw++) % 2 == 0) talk.push_back({"system", content()});
    for (std::uint64_t turns = 1 + rng.word(draw++) % 3; turns > 0; --turns) {
      talk.push_back({"user", content()});
      talk.push_back({"assistant", content()});
    }
  }
  return talks;
}

std::string json_line(const Conversation& talk) {
  nlohmann::json messages = nlohmann::json::array();
  for (const Message& m : talk) messages.push_back({{"role", m.role}, {"content", m.content}});
  return nlohmann::json{{"id", 1}, {"messages", messages}}.dump() + "\n";
}

class ChatBuildTest : public testing::TestWithParam<const char*> {
 protected:
  ChatBuildTest() : talks_(random_talks(7, 60, true)) {
    std::string lines;
    for (const Conversation& talk : talks_) lines += json_line(talk);
    options_.sources = {{"talk", input_.write("talk.jsonl", lines).string()}};
    options_.sources[0].chat_template = GetParam();
    options_.directory = input_.path() / "built";
    options_.vocabulary = 420;
  }

  DataDirectory input_;
  std::vector<Conversation> talks_;
  BuildOptions options_;
};

struct Tokens {
  explicit Tokens(const BuiltCorpus& built)
      : tokenizer(load_tokenizer(built.tokenizer)),
        data(std::make_shared<const IndexedDataset>(IndexedDataset::open(built.sources[0].prefix))),
        loss(LossMask::open(built.sources[0].prefix, data->tokens())) {}

  std::vector<std::int32_t> ids(std::uint64_t d) const {
    std::vector<std::int32_t> read(data->length(d));
    data->read(d, 0, read);
    return read;
  }
  std::vector<std::int32_t> trained(std::uint64_t d) const {
    std::vector<std::int32_t> targets = ids(d);
    loss->apply(data->find(d).offset / size_of(data->type()), targets);
    return targets;
  }

  Tokenizer tokenizer;
  std::shared_ptr<const IndexedDataset> data;
  std::shared_ptr<const LossMask> loss;
};

// The text of the trained tokens is what the assistant says, with its end markers. (A template's
// space in front may belong to the first word.)
TEST_P(ChatBuildTest, TheAssistantIsTrainedAndNothingElse) {
  const Tokens tokens(build_corpus(options_));
  const ChatTemplate chat = find_chat_template(GetParam());
  ASSERT_NE(tokens.loss, nullptr);
  ASSERT_EQ(tokens.data->documents(), talks_.size());
  std::uint64_t trained = 0;
  for (std::size_t d = 0; d < talks_.size(); ++d) {
    std::string expected, said;
    for (const Message& message : talks_[d]) {
      if (message.role == "assistant") expected += message.content + chat.roles.at("assistant").end;
    }
    for (const std::int32_t id : tokens.trained(d)) {
      if (id < 0) continue;
      ++trained;
      said += tokens.tokenizer.token_bytes(id);
    }
    if (GetParam() == std::string("mistral")) {
      std::erase(said, ' ');
      std::erase(expected, ' ');
    }
    ASSERT_EQ(said, expected) << "conversation " << d;
  }
  EXPECT_EQ(tokens.loss->trained(), trained);
}

// Each marker of the template is one token; the same letters in a message are text.
TEST_P(ChatBuildTest, ContentsGiveNoSpecialTokens) {
  const Tokens tokens(build_corpus(options_));
  for (std::size_t d = 0; d < talks_.size(); ++d) {
    std::string text;
    std::vector<TextSpan> spans;
    render_chat(find_chat_template(GetParam()), talks_[d], text, spans);
    std::vector<std::int32_t> ids = tokens.ids(d);
    EXPECT_EQ(ids.back(), tokens.tokenizer.end_of_text());
    ids.pop_back();
    EXPECT_EQ(tokens.tokenizer.decode(ids), text);
    std::size_t begin = 0, markers = 0;
    for (const TextSpan& span : spans) {
      for (const std::string& marker : markers_of(find_chat_template(GetParam()))) {
        const std::string part = text.substr(begin, span.bytes);
        for (std::size_t at = 0; span.frame && (at = part.find(marker, at)) != part.npos; ++at) {
          ++markers;
        }
      }
      begin += span.bytes;
    }
    const auto special = std::count_if(ids.begin(), ids.end(), [&](std::int32_t id) {
      const auto& added = tokens.tokenizer.model().added;
      return std::any_of(added.begin(), added.end(), [&](const auto& t) { return t.id == id; });
    });
    EXPECT_EQ(static_cast<std::size_t>(special), markers);
  }
}

// Targets of sequences are those of the documents, under the mask.
TEST_P(ChatBuildTest, SequencesAreMasked) {
  const Tokens tokens(build_corpus(options_));
  std::uint64_t valid = 0;
  for (const Packing packing : {Packing::best_fit, Packing::concatenate}) {
    DatasetOptions made;
    made.sequence_length = 64;
    made.end_of_text = tokens.tokenizer.end_of_text();
    made.vocabulary = tokens.tokenizer.vocabulary_size();
    made.packing = packing;
    made.tail = Tail::pad;
    const Dataset dataset(tokens.data, all_documents(*tokens.data), made, tokens.loss);
    std::vector<std::int32_t> ids(64), targets(64), positions(64), visibility(128);
    for (std::uint64_t n = 0; n < dataset.sequences(); ++n) {
      valid += static_cast<std::uint64_t>(dataset.read(n, {ids, targets, positions, visibility}));
      std::size_t t = 0;
      dataset.visit(n, [&](const Origin& origin) {
        const auto trained = tokens.trained(origin.document);
        for (std::uint64_t i = origin.begin; i < origin.begin + origin.count; ++i, ++t) {
          EXPECT_EQ(targets[t], i + 1 < trained.size() ? trained[i + 1] : -1);
        }
      });
    }
  }
  EXPECT_EQ(valid, 2 * tokens.loss->trained()) << "each trained token is predicted once an epoch";
}

INSTANTIATE_TEST_SUITE_P(Templates, ChatBuildTest,
                         testing::Values("chatml", "llama3", "mistral", "zephyr"));

class ChatSourceTest : public testing::Test {
 protected:
  BuildOptions options(const std::string& lines) {
    BuildOptions made;
    made.sources = {{"talk", input_.write("talk.jsonl", lines).string()}};
    made.directory = input_.path() / "built";
    made.vocabulary = 300;
    return made;
  }
  DataDirectory input_;
};

TEST_F(ChatSourceTest, ASecondRunReusesAndADamagedMaskIsMadeAnew) {
  const BuildOptions made = options(json_line({{"user", "hello"}, {"assistant", "well, hello"}}));
  EXPECT_FALSE(build_corpus(made).sources[0].reused);
  const BuiltCorpus again = build_corpus(made);
  EXPECT_TRUE(again.sources[0].reused);
  EXPECT_EQ(again.sources[0].trained, Tokens(again).loss->trained());
  const auto path = loss_path(again.sources[0].prefix);
  const std::string whole = read_file(path);
  for (const std::string& bytes : {whole.substr(1), std::string(), "x" + whole}) {
    input_.write("built/talk.loss", bytes);
    EXPECT_NE(input_error_of([&] { Tokens{again}; }).find("talk.loss: not the loss mask"),
              std::string::npos);
    EXPECT_FALSE(build_corpus(made).sources[0].reused);
    EXPECT_EQ(read_file(path), whole);
  }
  std::filesystem::remove(path);
  EXPECT_FALSE(build_corpus(made).sources[0].reused);
  // As texts it has no mask, and none is left of before.
  BuildOptions text = made;
  text.text_key = "id";
  text.sources[0].format = SourceFormat::text;
  text.sources[0].path = input_.write("t.jsonl", "{\"id\": \"some text\"}\n").string();
  build_corpus(text);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(ChatSourceTest, FormatsAreFoundByTheFirstObject) {
  const std::string talk = json_line({{"user", "u"}, {"assistant", "a"}});
  const struct {
    std::string lines, text_key;
    bool messages;
  } rows[] = {
      {talk, "text", true},
      {"\n{broken\n" + talk, "text", true},
      {"{\"text\": \"x\", \"messages\": []}\n", "text", false},
      {"{\"text\": \"x\"}\n" + talk, "text", false},
      {"", "text", false},
  };
  for (const auto& row : rows) {
    const auto file = input_.write("f.jsonl", row.lines);
    EXPECT_EQ(holds_messages({file}, row.text_key), row.messages) << row.lines;
  }
  EXPECT_FALSE(holds_messages({input_.write("f.txt", talk)}, "text"));
  BuildOptions made = options(talk);
  made.sources[0].format = SourceFormat::messages;
  made.sources[0].path = input_.write("plain.txt", "x").string();
  EXPECT_NE(input_error_of([&] { build_corpus(made); }).find("plain.txt is a text file"),
            std::string::npos);
  input_.write("both/talk.jsonl", talk);
  made.sources[0] = {"both", input_.write("both/x.txt", "x").parent_path().string()};
  EXPECT_NE(input_error_of([&] { build_corpus(made); }).find("x.txt is a text file"),
            std::string::npos);
}

TEST_F(ChatSourceTest, BadConversationsAreNamedOrSkipped) {
  const std::string good = json_line({{"user", "u"}, {"assistant", "a"}});
  const struct {
    std::string line, what;
  } rows[] = {
      {R"({"messages": []})", "no messages"},
      {R"({"messages": "x"})", "expected an array"},
      {R"({"messages": ["x"]})", "expected a JSON object"},
      {R"({"messages": [{"role": "user", "content": "x"}]})", "no assistant"},
      {R"({"messages": [{"role": "robot", "content": "x"}]})", "role \"robot\", expected one of"},
      {R"({"messages": [{"role": "assistant", "content": null}]})", "a string as the value of"},
      {R"({"messages": [{"role": "assistant", "content": [{"type": "text"}]}]})", "a string as"},
      {R"({"messages": [{"role": 1, "content": "x"}]})", "a string as the value of \"role\""},
      {R"({"messages": [{"role": "assistant"}]})", "message 1 has no \"content\""},
      {R"({"messages": [{"content": "x"}]})", "message 1 has no \"role\""},
      {R"({"messages": [{"role": "assistant", "content": "x"}])", "',' or '}'"},
      {R"({"text": "x"})", "found no key \"messages\""},
  };
  for (const auto& row : rows) {
    BuildOptions made = options(good + row.line + "\n" + good);
    const std::string message = input_error_of([&] { build_corpus(made); });
    EXPECT_NE(message.find("talk.jsonl:2: column "), std::string::npos) << message;
    EXPECT_NE(message.find(row.what), std::string::npos) << row.line << ": " << message;
    made.on_bad_record = OnBadRecord::skip;
    const BuiltCorpus built = build_corpus(made);
    EXPECT_EQ(built.sources[0].documents, 2u);
    EXPECT_EQ(built.sources[0].bad_records, 1u);
  }
  BuildOptions turns = options(good + json_line({{"assistant", "a"}, {"user", "u"}}));
  turns.sources[0].chat_template = "mistral";
  EXPECT_NE(input_error_of([&] { build_corpus(turns); }).find("in turns"), std::string::npos);
}

}  // namespace
}  // namespace bessemer::data
