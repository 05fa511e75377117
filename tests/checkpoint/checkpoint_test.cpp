#include "checkpoint/checkpoint.h"

#include <limits>

#include <unistd.h>

#include "checkpoint/manifest.h"
#include "checkpoint/run_lock.h"
#include "tensors.h"

namespace bessemer::checkpoint {
namespace {

using testing::expect_input_error;
using testing::listing;
using testing::Tensors;
using testing::write_bytes;

using Json = nlohmann::json;
using Names = std::vector<std::string>;
namespace fs = std::filesystem;

Tensors small(std::uint64_t seed = 1) {
  Tensors tensors;
  tensors.add("layers.0.w", {DType::fp32, {4, 3}}, seed);
  tensors.add("layers.0.w.m", {DType::bf16, {4, 3}}, seed + 1);
  tensors.add("step", {DType::int64, {}}, seed + 2);
  return tensors;
}

Json state() {
  return {{"data_position", 18446744073709551615u},
          {"seed", -3},
          {"loss", 0.1},
          {"config_digest", "abc"},
          {"sources", {{"a", 1}}}};
}

void flip(const fs::path& path, std::size_t bit) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(bit / 8));
  const int byte = file.get() ^ (1 << (bit % 8));
  file.seekp(static_cast<std::streamoff>(bit / 8));
  file.put(static_cast<char>(byte));
}

TEST(Checkpoint, RoundTrips) {
  const TemporaryDirectory run;
  const Tensors tensors = small();
  const auto path = write_checkpoint(run.path(), 120, tensors.named(), state());
  EXPECT_EQ(path, run.path() / "checkpoints" / "step_000120");
  EXPECT_EQ(listing(path.parent_path()), Names{"step_000120"});
  EXPECT_EQ(listing(path), (Names{"manifest.json", "state.json", "tensors.safetensors"}));
  const Checkpoint found(path);
  tensors.expect_in(found);
  expect_tensors(found, tensors.specs());
  EXPECT_EQ(found.step(), 120);
  Json expected = state();
  expected["step"] = 120;
  expected["format_version"] = kFormatVersion;
  EXPECT_EQ(found.state(), expected);
}

TEST(Checkpoint, ListsByStep) {
  const TemporaryDirectory run;
  EXPECT_EQ(find_latest(run.path()), std::nullopt);
  EXPECT_EQ(find_latest(run.path() / "absent"), std::nullopt);
  const Tensors tensors = small();
  for (const int step : {30, 1234567, 200}) {
    write_checkpoint(run.path(), step, tensors.named(), state());
  }
  const auto folder = run.path() / "checkpoints";
  for (const char* name : {"step_", "step_00x000", "step_99", "step_99999999999999999999",
                           ".step_000999.partial-1", "other"}) {
    fs::create_directory(folder / name);
  }
  write_bytes(folder / "step_7654321", "a file");
  Names names;
  for (const auto& item : list_checkpoints(run.path())) names.push_back(item.path.filename());
  EXPECT_EQ(names, (Names{"step_000030", "step_000200", "step_1234567"}));
  EXPECT_EQ(find_latest(run.path()), folder / "step_1234567");
}

TEST(Checkpoint, AnEqualStepIsReplaced) {
  const TemporaryDirectory run;
  write_checkpoint(run.path(), 5, small(1).named(), state());
  const Tensors second = small(100);
  const auto path = write_checkpoint(run.path(), 5, second.named(), state());
  second.expect_in(Checkpoint(path));
  EXPECT_EQ(listing(path.parent_path()), Names{"step_000005"});
}

TEST(Checkpoint, KeepsTheLast) {
  const TemporaryDirectory run;
  const Tensors tensors = small();
  const auto first = write_checkpoint(run.path(), 1, tensors.named(), state());
  for (const int step : {2, 3, 4}) write_checkpoint(run.path(), step, tensors.named(), state());
  keep_last(run.path(), 0, first);
  EXPECT_EQ(list_checkpoints(run.path()).size(), 4u);
  keep_last(run.path(), 2, first);  // the one just written stays, whatever its step
  EXPECT_EQ(listing(run.path() / "checkpoints"),
            (Names{"step_000001", "step_000003", "step_000004"}));
  keep_last(run.path(), 9, first);
  EXPECT_EQ(list_checkpoints(run.path()).size(), 3u);
}

TEST(Checkpoint, RefusesStateThatCannotBeRead) {
  const TemporaryDirectory run;
  const Tensors tensors = small();
  for (const Json& bad : {Json(1), Json{{"step", 1}}, Json{{"format_version", 1}},
                          Json{{"loss", std::numeric_limits<double>::quiet_NaN()}}}) {
    EXPECT_THROW(write_checkpoint(run.path(), 1, tensors.named(), bad), Error) << bad;
  }
  EXPECT_EQ(listing(run.path()), Names{});
}

TEST(Checkpoint, EveryFlippedBitIsFound) {
  const TemporaryDirectory run;
  const Tensors tensors = small();
  const auto path = write_checkpoint(run.path(), 7, tensors.named(), state());
  for (const std::string name : {"manifest.json", "state.json", "tensors.safetensors"}) {
    const std::size_t bits = read_file(path / name).size() * 8;
    for (std::size_t bit = 0; bit < bits; ++bit) {
      SCOPED_TRACE(name + " bit " + std::to_string(bit));
      flip(path / name, bit);
      expect_input_error([&] { Checkpoint found(path); }, {(path / name).string()});
      flip(path / name, bit);
      if (HasFailure()) return;
    }
  }
  tensors.expect_in(Checkpoint(path));
}

TEST(Checkpoint, MissingAndTruncatedFilesAreFound) {
  const Tensors tensors = small();
  for (const std::string name : {"manifest.json", "state.json", "tensors.safetensors"}) {
    SCOPED_TRACE(name);
    const TemporaryDirectory run;
    const auto path = write_checkpoint(run.path(), 7, tensors.named(), state());
    const std::string whole = read_file(path / name);
    for (const std::size_t size : {whole.size() - 1, whole.size() / 2, std::size_t{0}}) {
      write_bytes(path / name, whole.substr(0, size));
      if (name == "manifest.json" && size + 1 == whole.size()) continue;  // the closing newline
      expect_input_error([&] { Checkpoint found(path); }, {(path / name).string()});
    }
    write_bytes(path / name, whole + "x");
    expect_input_error([&] { Checkpoint found(path); }, {(path / name).string()});
    fs::remove(path / name);
    expect_input_error([&] { Checkpoint found(path); }, {(path / name).string(), "missing"});
    expect_input_error([&] { Checkpoint found(run.path() / "no"); }, {"no such checkpoint"});
  }
}

TEST(Checkpoint, AnotherModelsShapesAreRefused) {
  const TemporaryDirectory run;
  const auto path = write_checkpoint(run.path(), 7, small().named(), state());
  auto specs = small().specs();
  specs[0].type.shape = {2, 2};
  expect_input_error(
      [&] { expect_tensors(Checkpoint(path), specs); },
      {path.string(), "another model", "layers.0.w: checkpoint has [4,3], the model needs [2,2]"});
}

TEST(Manifest, RefusesWhatItDidNotWrite) {
  const std::string good = print_manifest({{"a", {3, "0123456789abcdef"}}});
  const Manifest expected = {{"a", {3, "0123456789abcdef"}}};
  EXPECT_EQ(parse_manifest(good, "m"), expected);
  const std::string outside = print_manifest({{"../a", {3, "0123456789abcdef"}}});
  const std::string bad_sum = print_manifest({{"a", {3, "0123456789ABCDEF"}}});
  struct Row {
    std::string text;
    Names message;
  };
  const std::vector<Row> table = {
      {"", {"not valid JSON"}},
      {"{}", {"\"format_version\" is missing"}},
      {R"({"format_version":1})", {"\"files\" is missing"}},
      {R"({"format_version":1,"files":{}})", {"\"digest\" is missing"}},
      {R"({"format_version":2,"files":{},"digest":""})", {"format_version 2", "reads 1"}},
      {R"({"format_version":1,"files":[],"digest":""})", {"files: expected an object"}},
      {R"({"format_version":1,"files":{},"digest":""})", {"damaged"}},
      {R"({"format_version":1,"files":{},"digest":7})", {"damaged"}},
      {outside, {"../a", "not the name of a file"}},
      {bad_sum, {"expected 16 hexadecimal digits"}},
  };
  for (const Row& row : table) {
    SCOPED_TRACE(row.text);
    expect_input_error([&] { parse_manifest(row.text, "m.json"); }, row.message);
  }
}

TEST(RunLock, IsHeldOnceAndNamesItsHolder) {
  const TemporaryDirectory run;
  {
    const RunLock lock(run.path());
    expect_input_error(
        [&] { RunLock second(run.path()); },
        {run.path().string(), "another run", "process " + std::to_string(::getpid()) + " on "});
  }
  const RunLock again(run.path());
  expect_input_error([&] { RunLock lock(run.path() / "absent"); },
                     {"run.lock", "No such file or directory"});
}

}  // namespace
}  // namespace bessemer::checkpoint
