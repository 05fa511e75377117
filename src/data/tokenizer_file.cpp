#include "data/tokenizer_file.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/sentencepiece_model.h"
#include "data/tiktoken.h"
#include "data/tokenizer_json.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

enum class Kind { json, sentence_piece, tiktoken };

Kind kind_of(std::string_view bytes, const std::string& name) {
  const auto first = bytes.find_first_not_of(" \t\r\n");
  require_input(first != bytes.npos, "{}: the file is empty; expected a tokenizer", name);
  // A JSON object (with or without a byte-order mark), or what can only be meant as one.
  const std::string_view text = bytes.substr(first);
  if (text[0] == '{' || text.starts_with("\xEF\xBB\xBF")) return Kind::json;
  if (looks_like_tiktoken(text)) return Kind::tiktoken;
  constexpr char kPiecesTag = 0x0A;  // field 1, bytes
  if (bytes[0] == kPiecesTag) return Kind::sentence_piece;
  const fs::path path(name);
  if (path.extension() == ".model") return Kind::sentence_piece;
  if (path.extension() == ".tiktoken") return Kind::tiktoken;
  return Kind::json;
}

std::string_view text_of(const MappedFile& file) {
  const auto bytes = file.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Tokenizer parse_tokenizer(std::string_view bytes, const std::string& name) {
  switch (kind_of(bytes, name)) {
    case Kind::sentence_piece: return parse_sentencepiece_model(bytes, name);
    case Kind::tiktoken: return std::move(parse_tiktoken(bytes, name).tokenizer);
    default: return parse_tokenizer_json(bytes, name);
  }
}

Tokenizer load_tokenizer(const fs::path& path) {
  const MappedFile file(path);
  return parse_tokenizer(text_of(file), path.string());
}

std::optional<fs::path> find_tokenizer(const fs::path& directory) {
  for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
    if (fs::exists(directory / name)) return directory / name;
  }
  std::error_code ignored;
  std::optional<fs::path> found;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    if (entry.path().extension() != ".tiktoken") continue;
    require_input(!found, "{}: several .tiktoken files; keep the one that belongs there",
                  directory.string());
    found = entry.path();
  }
  return found;
}

std::string kept_tokenizer_name(const fs::path& path) {
  const MappedFile file(path);
  switch (kind_of(text_of(file), path.string())) {
    case Kind::sentence_piece: return "tokenizer.model";
    case Kind::tiktoken: return parse_tiktoken(text_of(file), path.string()).encoding + ".tiktoken";
    default: return "tokenizer.json";
  }
}

fs::path keep_tokenizer(const fs::path& path, const fs::path& directory) {
  const fs::path kept = directory / kept_tokenizer_name(path);
  write_file_atomically(kept, read_file(path));
  std::vector<fs::path> others;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const fs::path name = entry.path().filename();
    const bool tokenizer =
        name == "tokenizer.json" || name == "tokenizer.model" || name.extension() == ".tiktoken";
    if (tokenizer && name != kept.filename()) others.push_back(entry.path());
  }
  for (const fs::path& other : others) fs::remove(other);
  return kept;
}

}  // namespace bessemer::data
