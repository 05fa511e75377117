#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/file.h"
#include "config/field.h"
#include "config/parse.h"
#include "config/suggest.h"

namespace bessemer::config {
namespace {

constexpr char kEveryKey[] = R"(
[model]
architecture = "llama"
layers = 2
hidden = 48
heads = 4
kv_heads = 2
head_dim = 16
ffn = 100
context = 4096
vocabulary = 5000
rope_theta = 5e5
tied_embeddings = true
norm_epsilon = 1e-6
qkv_bias = true
attention_window = 7
initializer_range = 0.1
dropout = 0.3
[model.rope_scaling]
type = "yarn"
factor = 4
original_context = 1024
beta_fast = 30
beta_slow = 2
attention_factor = 1.5
low_freq_factor = 2
high_freq_factor = 8
[data]
sequence_length = 99
tokenizer = "t/tokenizer.json"
text_field = "co\"nt\\ent\n\u0001"
validation_fraction = 0
seed = 9223372036854775807
cache = "cache dir"
token_pairs = 900
[[data.source]]
name = "one"
path = "a.jsonl"
weight = 0.1
weight_changes = ["1000: 0.5", "2000-3000: 0"]
max_epochs = 2.5
[[data.source]]
path = "é/b.txt"
[train]
name = "n"
directory = "d"
steps = 10
max_tokens = 12345678901
micro_batch_size = 2
global_batch_size = 4
evaluate_every = 0
evaluate_batches = 0
sample_every = 3
sample_prompt = "In the beginning"
sample_tokens = 5
sample_temperature = 0
max_skipped_steps = 2
[optimizer]
name = "adamw"
learning_rate = 0.1
min_learning_rate = 0.01
schedule = "wsd"
warmup_steps = 1
decay_steps = 2
beta1 = 0.8
beta2 = 0.9
epsilon = 1e-10
weight_decay = 0.0
gradient_clip = 2
[precision]
recipe = "fp8"
fp8_scaling = "block"
parameters = "bf16"
stash = "int8"
[checkpoint]
every = 1
keep_last = 0
[memory]
device = "1536MiB"
policy = "resident"
recompute = "none"
host = "8GiB"
file = "/scratch:64GiB"
offload = ["optimizer", "activations:file"]
[parallel]
tp = 1
pp = 1
dp = 1
cp = 1
ep = 1
[log]
level = "debug"
every = 1
[run]
threads = 3
seed = 4
device = "cuda:1"
)";

std::string source_file(const std::string& name) {
  return std::string(BESSEMER_SOURCE_DIR) + "/" + name;
}

TEST(ToToml, FullConfigurationParsesBackEqual) {
  const RunConfig config = parse_run_config(kEveryKey, "every.toml");
  const std::string text = to_toml(config);
  EXPECT_EQ(parse_run_config(text, "other.toml"), config) << text;
  EXPECT_EQ(to_toml(parse_run_config(text, "other.toml")), text);
}

TEST(ToToml, EveryFieldIsPrintedWhereItIsSet) {
  const std::string text = to_toml(parse_run_config(kEveryKey, "every.toml"));
  for (const auto& field : run_fields()) {
    if (field.name() == "data.path" || field.name() == "data.vocabulary" ||
        field.name() == "model.config" || field.name() == "model.from")
      continue;  // contradict what the text above sets
    EXPECT_NE(text.find("\n" + field.key + " = "), std::string::npos) << field.name();
  }
}

TEST(ToToml, ExamplesParseBackEqual) {
  for (const char* name : {"smallest", "quickstart", "gpt2-124m", "llama-60m"}) {
    const RunConfig config =
        load_run_config(source_file(std::string("examples/") + name + ".toml"));
    EXPECT_EQ(parse_run_config(to_toml(config), "other.toml"), config) << name;
  }
}

TEST(Fields, HaveOneNameEach) {
  std::vector<std::string> seen;
  for (const auto& field : run_fields()) {
    for (const std::string& key : {field.key, field.alias}) {
      if (key.empty()) continue;
      const std::string name = field.section + "." + key;
      EXPECT_EQ(std::count(seen.begin(), seen.end(), name), 0) << name;
      seen.push_back(name);
    }
  }
}

TEST(KeyReference, IsThePageInDocs) {
  EXPECT_EQ(read_file(source_file("docs/run-file.md")), key_reference());
}

TEST(Bytes, ReadAndPrint) {
  const auto text = [](const char* t) { return to_bytes(Value{std::string(t), {}}); };
  EXPECT_EQ(text("2GiB"), Bytes{2ull << 30});
  EXPECT_EQ(text("1.5 GB"), Bytes{1'500'000'000});
  EXPECT_EQ(text("10B"), Bytes{10});
  for (const char* bad :
       {"", "GiB", "2", "-1GiB", "2gib", "0B", "1e30TiB", "nanB", "infB", "2GiBx", "99999999TiB"})
    EXPECT_EQ(text(bad), std::nullopt) << bad;
  EXPECT_EQ(to_bytes(Value{std::int64_t{0}, {}}), std::nullopt);
  EXPECT_EQ(print(Bytes{3ull << 29}), "\"1536MiB\"");
  EXPECT_EQ(print(Bytes{1001}), "1001");
}

TEST(Offload, ReadsListsAndText) {
  using Items = std::vector<OffloadItem>;
  const auto text = [](const char* t) { return to_offload(Value{std::string(t), {}}); };
  const Items two{{TensorClass::optimizer, OffloadTier::automatic},
                  {TensorClass::activations, OffloadTier::file}};
  EXPECT_EQ(text("optimizer, activations:file"), two);
  EXPECT_EQ(to_offload(Value{std::vector<std::string>{"optimizer", "activations:file"}, {}}), two);
  EXPECT_EQ(print(two), "[\"optimizer\", \"activations:file\"]");
  EXPECT_EQ(text("none"), Items{});
  EXPECT_EQ(print(Items{}), "[]");
  for (const char* bad : {"", "all", "optimizer:", "optimizer:device", ",", "optimizer,"}) {
    EXPECT_EQ(text(bad), std::nullopt) << bad;
  }
}

TEST(WeightChanges, ReadAndPrint) {
  using Changes = std::vector<WeightChange>;
  const auto text = [](const char* t) { return to_weight_changes(Value{std::string(t), {}}); };
  const Changes two{{1000, 1000, 0.5}, {2000, 3000, 0.1}};
  EXPECT_EQ(text("1000: 0.5, 2000-3000: 0.1"), two);
  EXPECT_EQ(text("1000 :0.5,2000 - 3000 : 1e-1"), two);
  EXPECT_EQ(to_weight_changes(Value{std::vector<std::string>{"1000:0.5", "2000-3000:0.1"}, {}}),
            two);
  EXPECT_EQ(print(two), "[\"1000: 0.5\", \"2000-3000: 0.1\"]");
  for (const char* bad : {"", "5", "5:", ":1", "0: 1", "-3: 1", "9-5: 1", "5: -1", "5: nan",
                          "5: inf", "5: 1 x", "5-: 1", "5: 1,"}) {
    EXPECT_EQ(text(bad), std::nullopt) << bad;
  }
}

TEST(FileBudget, ReadsAndPrints) {
  const auto text = [](const char* t) { return to_file_budget(Value{std::string(t), {}}); };
  EXPECT_EQ(text("/a:b:2GiB"), (FileBudget{"/a:b", {2ull << 30}}));
  EXPECT_EQ(print(FileBudget{"/a", {1001}}), "\"/a:1001B\"");
  EXPECT_EQ(text("/a:1001B"), (FileBudget{"/a", {1001}}));
  for (const char* bad : {"", "/a", "/a:", ":2GiB", "/a:2"})
    EXPECT_EQ(text(bad), std::nullopt) << bad;
}

TEST(EditDistance, CountsEditsAndSwaps) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("stpes", "steps"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("ab", "ba"), 1u);
}

}  // namespace
}  // namespace bessemer::config
