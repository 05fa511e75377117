#include "checkpoint/safetensors.h"

#include <cstring>

#include "checkpoint/safetensors_dtype.h"
#include "support/tensor.h"
#include "tensors.h"

namespace bessemer::checkpoint {
namespace {

using testing::expect_input_error;
using testing::Tensors;

std::string file_of(const std::string& header, std::size_t data_bytes) {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i));
  return file + header + std::string(data_bytes, 'x');
}

SafetensorsIndex parse(const std::string& file) {
  return parse_safetensors(std::as_bytes(std::span(file)), "f.safetensors");
}

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"w":)" + tensor(dtype, shape, offsets) + "}";
}

std::string pair(const std::string& first, const std::string& second) {
  return R"({"a":)" + tensor("\"U8\"", "[4]", first) + R"(,"b":)" +
         tensor("\"U8\"", "[4]", second) + "}";
}

struct Bad {
  const char* what;
  std::string file;
  std::vector<std::string> message;
};

std::vector<Bad> bad_frames() {
  std::string huge(8, '\xff');
  const std::string good = file_of(one("\"U8\"", "[4]", "[0,4]"), 4);
  return {
      {"empty file", "", {"not a safetensors file", "0 bytes"}},
      {"seven bytes", std::string(7, 'x'), {"7 bytes"}},
      {"length of 2^64-1", huge + "{}", {"header claims 18446744073709551615 bytes"}},
      {"header longer than the file", good.substr(0, 20), {"truncated", "header claims"}},
      {"data cut off", good.substr(0, good.size() - 1), {"tensor \"w\"", "ends at data byte 4"}},
      {"bytes after the data", good + "y", {"bytes 4 to 5", "belong to no tensor"}},
      {"no JSON", file_of("hello", 0), {"header", "not valid JSON"}},
      {"empty header", file_of("", 0), {"header", "not valid JSON"}},
      {"header is a list", file_of("[]", 0), {"expected a JSON object"}},
      {"invalid UTF-8", file_of("{\"\xff\":1}", 0), {"not valid JSON"}},
      {"deep", file_of("{\"a\":" + std::string(100000, '['), 0), {"nested deeper"}},
  };
}

std::vector<Bad> bad_entries() {
  const auto file = [](const std::string& header) { return file_of(header, 8); };
  return {
      {"tensor is a number", file(R"({"w":1})"), {"tensor \"w\"", "expected an object, found 1"}},
      {"no dtype", file(R"({"w":{"shape":[8],"data_offsets":[0,8]}})"), {"\"dtype\" is missing"}},
      {"unknown key", file(R"({"w":{"shape":[8],"x":1}})"), {"unknown key \"x\""}},
      {"unknown dtype", file(one("\"Q4\"", "[8]", "[0,8]")), {"dtype", "\"Q4\"", "BF16"}},
      {"dtype is a number", file(one("7", "[8]", "[0,8]")), {"dtype: 7"}},
      {"shape is text", file(one("\"U8\"", "\"8\"", "[0,8]")), {"shape: expected a list"}},
      {"negative size", file(one("\"U8\"", "[-8]", "[0,8]")), {"whole number, found -8"}},
      {"fractional size", file(one("\"U8\"", "[8.0]", "[0,8]")), {"whole number, found 8.0"}},
      {"size beyond int64", file(one("\"U8\"", "[9223372036854775808]", "[0,8]")), {"too large"}},
      {"product overflows to 8",
       file(one("\"U8\"", "[4294967296,4294967296,8]", "[0,8]")),
       {"more bytes than any file"}},
      {"bytes overflow",
       file(one("\"F64\"", "[2305843009213693952]", "[0,0]")),
       {"more bytes than any file"}},
      {"overflow hidden by a zero",
       file(one("\"U8\"", "[4294967296,4294967296,0]", "[0,0]")),
       {"more bytes than any file"}},
      {"three offsets", file(one("\"U8\"", "[8]", "[0,8,8]")), {"expected [begin, end]"}},
      {"negative offset", file(one("\"U8\"", "[8]", "[-8,0]")), {"whole number, found -8"}},
      {"offset beyond uint64",
       file(one("\"U8\"", "[8]", "[0,99999999999999999999]")),
       {"whole number"}},
      {"ends before it begins", file(one("\"U8\"", "[8]", "[8,0]")), {"ends before it"}},
      {"ends outside", file(one("\"U8\"", "[9]", "[0,9]")), {"ends at data byte 9", "8 bytes"}},
      {"too few bytes", file(one("\"F32\"", "[3]", "[0,8]")), {"fp32[3] needs 12", "give 8"}},
      {"overlap", file(pair("[0,4]", "[3,7]")), {"\"b\" begins at data byte 3, inside", "\"a\""}},
      {"same place", file(pair("[0,4]", "[0,4]")), {"\"b\" begins at data byte 0, inside"}},
      {"hole between", file_of(pair("[0,4]", "[5,9]"), 9), {"bytes 4 to 5, before tensor \"b\""}},
      {"hole before", file_of(pair("[1,5]", "[5,9]"), 9), {"bytes 0 to 1"}},
      {"name twice", file(R"({"w":1,"w":1})"), {"key \"w\" stands twice"}},
      {"key twice", file(R"({"w":{"dtype":"U8","dtype":"U8"}})"), {"key \"dtype\" stands twice"}},
      {"metadata is a list", file(R"({"__metadata__":[]})"), {"__metadata__: expected an object"}},
      {"metadata of numbers", file(R"({"__metadata__":{"a":1}})"), {"\"a\": expected text"}},
  };
}

TEST(Safetensors, RefusesBadFiles) {
  auto table = bad_frames();
  for (Bad& bad : bad_entries()) table.push_back(std::move(bad));
  for (const Bad& bad : table) {
    SCOPED_TRACE(bad.what);
    auto message = bad.message;
    message.push_back("f.safetensors");
    expect_input_error([&] { parse(bad.file); }, message);
  }
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string good = file_of(pair("[0,4]", "[4,8]"), 8);
  EXPECT_EQ(parse(good).entries.size(), 2u);
  for (std::size_t size = 0; size < good.size(); ++size) {
    SCOPED_TRACE(size);
    expect_input_error([&] { parse(good.substr(0, size)); }, {"f.safetensors"});
  }
}

TEST(Safetensors, AcceptsWhatTheFormatAllows) {
  EXPECT_TRUE(parse(file_of("{}", 0)).entries.empty());
  EXPECT_TRUE(parse(file_of("{}   ", 0)).entries.empty());
  EXPECT_EQ(parse(file_of(R"({"__metadata__":{"a":"b"}})", 0)).metadata.at("a"), "b");
  const auto scalar = parse(file_of(one("\"F32\"", "[]", "[0,4]"), 4));
  EXPECT_EQ(scalar.entries[0].type, (TensorType{DType::fp32, {}}));
  const auto empty = parse(file_of(one("\"F32\"", "[0,5]", "[0,0]"), 0));
  EXPECT_EQ(empty.entries[0].type, (TensorType{DType::fp32, {0, 5}}));
}

TEST(Safetensors, RoundTripsEveryDType) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "t.safetensors";
  Tensors tensors;
  std::uint64_t seed = 1;
  for (const auto& [name, dtype] : kSafetensorsDTypes) {
    tensors.add("m." + std::string(name), {dtype, {3, 5}}, seed++);
    tensors.add("v." + std::string(name), {dtype, {1}}, seed++);
  }
  tensors.add("scalar", {DType::fp64, {}}, seed++);
  tensors.add("empty", {DType::fp32, {4, 0}}, seed++);
  tensors.add("quote \" and \u00e9", {DType::int8, {3}}, seed++);
  write_safetensors_file(path, tensors.specs(), tensors.bytes_of(), {{"k", "v \" \n"}});
  const SafetensorsFile file(path);
  tensors.expect_in(file);
  EXPECT_EQ(file.metadata(), (Metadata{{"k", "v \" \n"}}));
  EXPECT_EQ(file.find("m."), std::nullopt);
  EXPECT_EQ(file.find("zzz"), std::nullopt);
  expect_input_error([&] { get(file, "absent"); }, {path.string(), "\"absent\""});
}

TEST(Safetensors, TensorsAreAlignedToTheirElements) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "t.safetensors";
  Tensors tensors;
  tensors.add("a", {DType::int8, {3}}, 1);
  tensors.add("b", {DType::fp64, {5}}, 2);
  tensors.add("c", {DType::bf16, {7}}, 3);
  tensors.add("d", {DType::fp32, {9}}, 4);
  write_safetensors_file(path, tensors.specs(), tensors.bytes_of());
  const SafetensorsFile file(path);
  for (const std::string& name : file.names()) {
    const TensorView view = get(file, name);
    const auto address = reinterpret_cast<std::uintptr_t>(view.bytes.data());
    EXPECT_EQ(address % size_of(view.type.dtype), 0u) << name;
  }
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(get(file, "b").bytes.data()) % 64, 0u);
}

TEST(Safetensors, WriterRefusesWhatItCannotRepresent) {
  const auto write = [](const Tensors& tensors) {
    write_safetensors([](std::span<const std::byte>) {}, tensors.specs(), tensors.bytes_of());
  };
  Tensors twice;
  twice.add("a", {DType::int8, {1}}, 1);
  twice.add("a", {DType::int8, {1}}, 1);
  EXPECT_THROW(write(twice), Error);
  Tensors reserved;
  reserved.add("__metadata__", {DType::int8, {1}}, 1);
  EXPECT_THROW(write(reserved), Error);
  Tensors thin;
  thin.add("a", {DType::int8, {4}}, 1);
  thin.bytes(0).resize(3);
  EXPECT_THROW(write(thin), Error);
}

// Values as golden/make_golden.py makes them.
double golden_value(std::int64_t i, int number, DType dtype) {
  const std::int64_t raw = (i * 7 + number) % 13 - 6;
  if (dtype == DType::uint8) return static_cast<double>(std::abs(raw));
  if (dtype == DType::boolean) return static_cast<double>(raw & 1);
  return static_cast<double>(raw);
}

void expect_golden(const TensorSource& source, const std::string& name, const TensorType& type,
                   int number) {
  const TensorView view = get(source, name);
  ASSERT_EQ(view.type, type) << name;
  bessemer::testing::Tensor values(type);
  std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
  for (std::int64_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(values.get(i), golden_value(i, number, type.dtype)) << name << "[" << i << "]";
  }
}

TEST(Safetensors, ReadsWhatPythonWrote) {
  const std::filesystem::path golden = BESSEMER_SOURCE_DIR "/tests/checkpoint/golden";
  const SafetensorsFile dtypes(golden / "dtypes.safetensors");
  const std::vector<std::pair<const char*, DType>> table = {
      {"f64", DType::fp64}, {"f32", DType::fp32},  {"bf16", DType::bf16},
      {"f16", DType::fp16}, {"i64", DType::int64}, {"i32", DType::int32},
      {"i8", DType::int8},  {"u8", DType::uint8},  {"bool", DType::boolean}};
  EXPECT_EQ(dtypes.names().size(), table.size());
  for (std::size_t t = 0; t < table.size(); ++t) {
    expect_golden(dtypes, table[t].first, {table[t].second, {3, 5}}, static_cast<int>(t));
  }
  EXPECT_EQ(dtypes.metadata(), (Metadata{{"format", "pt"}, {"note", "a \"b\" \u00e9"}}));
  const SafetensorsFile shapes(golden / "shapes.safetensors");
  expect_golden(shapes, "scalar", {DType::fp32, {}}, 0);
  expect_golden(shapes, "empty", {DType::fp32, {2, 0, 3}}, 0);
  expect_golden(shapes, "vector", {DType::int8, {7}}, 0);
  expect_golden(shapes, "layers.0.\u540d\u524d", {DType::bf16, {2, 3, 4}}, 0);
}

TEST(ExpectTensors, ListsTheFirstDifferences) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "t.safetensors";
  Tensors tensors;
  tensors.add("layers.3.attention.q.weight", {DType::fp32, {8, 8}}, 1);
  tensors.add("norm", {DType::fp32, {8}}, 2);
  tensors.add("extra", {DType::fp32, {1}}, 3);
  write_safetensors_file(path, tensors.specs(), tensors.bytes_of());
  const SafetensorsFile file(path);
  expect_tensors(file, tensors.specs());
  const std::vector<TensorSpec> wanted = {
      {"layers.3.attention.q.weight", {DType::fp32, {4, 4}}},
      {"norm", {DType::bf16, {8}}},
      {"absent", {DType::fp32, {2}}},
  };
  expect_input_error(
      [&] { expect_tensors(file, wanted); },
      {path.string(), "belongs to another model",
       "layers.3.attention.q.weight: checkpoint has [8,8], the model needs [4,4]",
       "norm: checkpoint has fp32[8], the model needs bf16[8]",
       "absent: not there, the model needs fp32[2]", "the model has no such tensor"});
  std::vector<TensorSpec> many;
  for (int i = 0; i < 10; ++i) many.push_back({fmt::format("x{}", i), {DType::fp32, {1}}});
  expect_input_error([&] { expect_tensors(file, many); }, {"x3: not there", "and 9 more"});
}

}  // namespace
}  // namespace bessemer::checkpoint
