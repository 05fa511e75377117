#include "checkpoint/hugging_face.h"

#include "checkpoint/safetensors.h"
#include "tensors.h"

namespace bessemer::checkpoint {
namespace {

using testing::expect_input_error;
using testing::listing;
using testing::Tensors;
using testing::write_bytes;

using Names = std::vector<std::string>;

Tensors three() {
  Tensors tensors;
  tensors.add("a", {DType::fp32, {10}}, 1);  // 40 bytes
  tensors.add("b", {DType::fp32, {5}}, 2);   // 20
  tensors.add("c", {DType::bf16, {30}}, 3);  // 60
  return tensors;
}

TEST(HuggingFace, WritesOneFileOrShards) {
  struct Row {
    std::uint64_t most;
    Names files;
  };
  const std::string index = "model.safetensors.index.json";
  const std::vector<Row> table = {
      {120, {"config.json", "model.safetensors"}},
      {119,
       {"config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        index}},
      {1,
       {"config.json", "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors", index}},
  };
  const Tensors tensors = three();
  for (const Row& row : table) {
    SCOPED_TRACE(row.most);
    const TemporaryDirectory directory;
    const auto out = directory.path() / "deep" / "out";
    write_hugging_face(out, tensors.specs(), tensors.bytes_of(),
                       {row.most, {{"config.json", "{}"}}});
    EXPECT_EQ(listing(out), row.files);
    EXPECT_EQ(listing(out.parent_path()), Names{"out"});
    EXPECT_EQ(read_file(out / "config.json"), "{}");
    tensors.expect_in(*open_hugging_face(out));
  }
}

TEST(HuggingFace, ReplacesOnlyAnEmptyDirectory) {
  const TemporaryDirectory directory;
  const Tensors tensors = three();
  const auto out = directory.path() / "out";
  std::filesystem::create_directory(out);
  write_hugging_face(out / "", tensors.specs(), tensors.bytes_of());
  tensors.expect_in(*open_hugging_face(out));
  expect_input_error([&] { write_hugging_face(out, tensors.specs(), tensors.bytes_of()); },
                     {out.string(), "already there"});
  EXPECT_EQ(listing(directory.path()), Names{"out"});
}

TEST(HuggingFace, AFailedExportLeavesNothing) {
  const TemporaryDirectory directory;
  Tensors tensors = three();
  tensors.bytes(2).pop_back();
  EXPECT_THROW(
      write_hugging_face(directory.path() / "out", tensors.specs(), tensors.bytes_of(), {50, {}}),
      Error);
  EXPECT_EQ(listing(directory.path()), Names{});
}

TEST(HuggingFace, RefusesBadDirectories) {
  struct Row {
    const char* what;
    std::string index;
    Names message;
  };
  const std::vector<Row> table = {
      {"broken JSON", "{", {"index.json", "not valid JSON"}},
      {"no map", "{}", {"\"weight_map\" is missing"}},
      {"map is a list", R"({"weight_map":[]})", {"expected an object"}},
      {"file is a number", R"({"weight_map":{"a":1}})", {"\"a\": expected a file name"}},
      {"parent", R"({"weight_map":{"a":"../s.safetensors"}})", {"not the name of a file"}},
      {"absolute", R"({"weight_map":{"a":"/etc/passwd"}})", {"not the name of a file"}},
      {"dots", R"({"weight_map":{"a":".."}})", {"not the name of a file"}},
      {"empty name", R"({"weight_map":{"a":""}})", {"not the name of a file"}},
      {"missing shard",
       R"({"weight_map":{"a":"t.safetensors"}})",
       {"\"t.safetensors\"", "missing"}},
      {"wrong shard", R"({"weight_map":{"z":"s.safetensors"}})", {"promises tensor \"z\""}},
      {"name twice", R"({"weight_map":{"a":"s.safetensors","a":"s.safetensors"}})", {"twice"}},
  };
  const Tensors tensors = three();
  for (const Row& row : table) {
    SCOPED_TRACE(row.what);
    const TemporaryDirectory directory;
    write_safetensors_file(directory.path() / "s.safetensors", tensors.specs(), tensors.bytes_of());
    write_bytes(directory.path() / "model.safetensors.index.json", row.index);
    expect_input_error([&] { open_hugging_face(directory.path()); }, row.message);
  }
}

TEST(HuggingFace, SaysWhatADirectoryLacks) {
  const TemporaryDirectory directory;
  expect_input_error([&] { open_hugging_face(directory.path() / "no"); }, {"no such directory"});
  expect_input_error([&] { open_hugging_face(directory.path()); },
                     {directory.path().string(), "neither model.safetensors nor"});
  write_bytes(directory.path() / "pytorch_model.bin", "x");
  expect_input_error([&] { open_hugging_face(directory.path()); }, {"must be converted"});
}

}  // namespace
}  // namespace bessemer::checkpoint
